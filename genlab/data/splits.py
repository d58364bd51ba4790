"""Stratified parts of a data set, fixed by a seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def part(labels: Rows, size: int | float, seed: int, name: str) -> tuple[Rows, Rows]:
    """Rows that stay and rows held out; where some images have labels, only such are held out.

    Args:
        labels: (N,) classes, -1 where unknown.
        size: a count, or a fraction below 1.
        seed: of the choice.
        name: of ``size``, for the message.

    Raises:
        ValueError: nothing would be left.
    """
    known = np.flatnonzero(labels >= 0)
    rows = known if len(known) else np.arange(len(labels))
    number = round(size * len(rows)) if size < 1 else int(size)
    if number >= len(rows):
        raise ValueError(f"{name} {size} leaves none of the {len(rows)} images for training")
    held = rows[carve(labels[rows], number, seed)[1]]
    return np.setdiff1d(np.arange(len(labels)), held), held


def carve(labels: Rows, number: int, seed: int) -> tuple[Rows, Rows]:
    """Rows that stay and rows that are carved out, both ascending, classes in proportion.

    Args:
        labels: (N,) classes; -1 is one more class.
        number: how many to carve out, 0 <= number < N.
        seed: of the choice.
    """
    rows = np.arange(len(labels), dtype=np.int64)
    if number == 0:
        return rows, rows[:0]
    from sklearn.model_selection import train_test_split

    sizes = np.unique(labels, return_counts=True)[1]
    possible = sizes.min() > 1 and min(number, len(labels) - number) >= len(sizes)
    stay, carved = train_test_split(
        rows, test_size=number, random_state=seed, stratify=labels if possible else None
    )
    return np.sort(stay), np.sort(carved)
