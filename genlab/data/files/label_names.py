"""Classes of images whose labels are texts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from genlab.data.errors import BrokenDataError
from genlab.data.splits import Rows
from genlab.errors import nearest


def in_order(names: set[str]) -> list[str]:
    """Names of classes in the order of the numbers that they are, else of the alphabet."""
    try:
        return sorted(names, key=int)
    except ValueError:
        return sorted(names)


def numbers_of(names: list[str], classes: list[str], file: Path) -> Rows:
    """(N,) the number of each name among the classes, -1 where empty.

    Raises:
        BrokenDataError: a name that is not among them, or that two have; ``file`` is where.
    """
    number = {name: k for k, name in enumerate(classes)} | {"": -1}
    if len(number) <= len(classes):
        raise BrokenDataError(f"{file}: two of its {len(classes)} classes have the same name")
    unknown = next((name for name in names if name not in number), None)
    if unknown is not None:
        raise BrokenDataError(
            f"{file}: class {unknown!r}, which no training image has; {nearest(unknown, classes)}"
        )
    return np.array([number[name] for name in names], dtype=np.int64)
