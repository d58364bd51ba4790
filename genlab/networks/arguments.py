"""Validation of the settings that a recipe gives to a network."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from genlab.errors import check_names


def check_settings(what: str, function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that a function does not have.

    Args:
        what: beginning of the message.
        function: its parameters with a default are the settings.
        given: keyword arguments for it.

    Raises:
        ValueError: names the first wrong one and the nearest.
    """
    found = inspect.signature(function).parameters.values()
    names = [p.name for p in found if p.default is not inspect.Parameter.empty]
    check_names(what, given, names)


def check_not_negative(**numbers: float) -> None:
    """Refuse negative arguments.

    Args:
        **numbers: arguments by name.

    Raises:
        ValueError: names the first negative one and its value.
    """
    for name, number in numbers.items():
        if number < 0:
            raise ValueError(f"{name} {number} must be >= 0")
