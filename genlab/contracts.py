"""Contracts between the rooms of genlab: the content of a batch, the abilities of a method."""

from __future__ import annotations

import inspect
from typing import Any


def number_of_classes(method: Any) -> int:
    """Number of classes that a method can draw samples of; 0 if it draws without classes."""
    if "label" not in inspect.signature(getattr(method, "sample", lambda: 0)).parameters:
        return 0
    return int(getattr(method, "num_classes", 0) or 0)
