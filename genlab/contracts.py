"""What the rooms of genlab ask of one another: what a batch holds, what a method can do."""

from __future__ import annotations

import inspect
from typing import Any


def number_of_classes(method: Any) -> int:
    """How many classes a method can draw samples of; 0 when it draws without classes."""
    if "label" not in inspect.signature(getattr(method, "sample", lambda: 0)).parameters:
        return 0
    return int(getattr(method, "num_classes", 0) or 0)
