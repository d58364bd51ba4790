"""Classes of images whose labels are texts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from genlab.data.errors import BrokenDataError
from genlab.data.splits import Rows
from genlab.errors import nearest


def in_order(names: set[str], file: Path) -> list[str]:
    """Names of classes in the order of the numbers that they are, else of the alphabet.

    Raises:
        BrokenDataError: two that are the same number, such as 1 and 01; ``file`` is where.
    """
    try:
        found = sorted(names, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(names)
    for one, other in pairwise(found):
        if int(one) == int(other):
            raise BrokenDataError(
                f"{file}: classes {one!r} and {other!r} are the same number; write it in one way"
            )
    return found


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
