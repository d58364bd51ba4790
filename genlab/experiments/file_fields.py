"""Dataclasses filled from the keys of a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import fields
from typing import TypeVar

from genlab.errors import RecipeError, nearest

Filled = TypeVar("Filled")


def filled(kind: type[Filled], content: Mapping[str, object], where: str, noun: str) -> Filled:
    """A dataclass from a mapping.

    Args:
        kind: a dataclass.
        content: values by the names of its fields.
        where: file and key, for messages.
        noun: name of what the mapping describes, ``a study``.

    Raises:
        RecipeError: a key is unknown or missing.
    """
    names = [one.name for one in fields(kind)]  # type: ignore[arg-type]
    for key in content:
        if key not in names:
            raise RecipeError(f"unknown key {key}", where, nearest(str(key), names))
    try:
        return kind(**content)
    except TypeError as error:
        lacking = re.findall(r"'(\w+)'", str(error))
        raise RecipeError(f"{noun} requires {', '.join(lacking)}", where) from None
