"""Stratified parts of a data set, fixed by a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Division:
    """Division of the training images: those held out for validation, and the share used.

    Args:
        val_size: a count or a fraction, classes in proportion; ignored with ``folds``.
        seed: seed of every choice.
        limit: remaining images to use, a count or a fraction; None for all.
        folds: K of K-fold cross-validation; None for none.
        fold: fold that is held out, 0 to K - 1.

    Raises:
        ValueError: a value out of range.
    """

    val_size: int | float = 0.1
    seed: int = 0
    limit: int | float | None = None
    folds: int | None = None
    fold: int = 0

    def __post_init__(self) -> None:
        if self.val_size < 0:
            raise ValueError(
                f"val_size {self.val_size} must be a fraction below 1 or a count, 0 or more"
            )
        if self.limit is not None and not _is_amount(self.limit):
            raise ValueError(
                f"limit {self.limit} must be at least 1, a whole number, or a fraction below 1"
            )
        if self.folds is not None and self.folds < 2:
            raise ValueError(f"folds {self.folds} must be at least 2")
        if not 0 <= self.fold < (self.folds or 1):
            allowed = f"0 to {self.folds - 1}" if self.folds else "0 unless folds is given"
            raise ValueError(f"fold {self.fold} must be {allowed}")

    def refuse_folds(self, name: str) -> None:
        """Refuse ``folds`` of data whose validation part is fixed: all would be the same.

        Args:
            name: description of the data.

        Raises:
            ValueError: folds are asked for.
        """
        if self.folds is not None:
            raise ValueError(
                f"folds {self.folds} cannot be combined with {name}, whose validation part is fixed"
            )

    def hold_out(self, labels: Rows) -> tuple[Rows, Rows]:
        """Rows to train on and rows to validate on, both ascending, of images with ``labels``."""
        if self.folds is None:
            return part(labels, self.val_size, self.seed, "val_size")
        return fold(labels, self.folds, self.fold, self.seed)

    def limited(self, labels: Rows) -> Rows:
        """The rows to use, ascending, classes in proportion.

        Raises:
            ValueError: a fraction that leaves nothing.
        """
        rows = np.arange(len(labels), dtype=np.int64)
        if self.limit is None or self.limit >= len(rows):
            return rows
        number = round(self.limit * len(rows)) if self.limit < 1 else int(self.limit)
        if not number:
            raise ValueError(f"limit {self.limit} of {len(rows)} training images is none")
        return carve(labels, number, self.seed)[1]


def part(labels: Rows, size: int | float, seed: int, name: str) -> tuple[Rows, Rows]:
    """Rows that stay and rows held out; where some images have labels, only such are held out.

    Args:
        labels: (N,) classes, -1 where unknown.
        size: a count, or a fraction below 1.
        seed: seed of the choice.
        name: name of ``size``, for the message.

    Raises:
        ValueError: nothing would be left.
    """
    rows = _labelled(labels)
    number = round(size * len(rows)) if size < 1 else int(size)
    if number >= len(rows):
        raise ValueError(f"{name} {size} leaves none of the {len(rows)} images for training")
    held = rows[carve(labels[rows], number, seed)[1]]
    return np.setdiff1d(np.arange(len(labels)), held), held


def fold(labels: Rows, folds: int, number: int, seed: int) -> tuple[Rows, Rows]:
    """Rows that stay and those of one fold of K: together the folds are every labelled image once.

    Args:
        labels: (N,) classes, -1 where unknown; unlabelled images always stay, unless all are.
        folds: K; scikit-learn warns about a class with fewer images.
        number: fold that is held out.
        seed: seed of the choice.

    Raises:
        ValueError: no class has K images.
    """
    from sklearn.model_selection import StratifiedKFold

    rows = _labelled(labels)
    most = int(np.unique(labels[rows], return_counts=True)[1].max())
    if folds > most:
        raise ValueError(f"folds {folds} exceeds the {most} images of the largest class")
    cut = StratifiedKFold(folds, shuffle=True, random_state=seed).split(rows, labels[rows])
    held = rows[list(cut)[number][1]]
    return np.setdiff1d(np.arange(len(labels)), held), held


def carve(labels: Rows, number: int, seed: int) -> tuple[Rows, Rows]:
    """Rows that stay and rows that are split off, both ascending, classes in proportion.

    Args:
        labels: (N,) classes; -1 is one more class.
        number: number of rows to split off, 0 <= number < N.
        seed: seed of the choice.
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


def _labelled(labels: Rows) -> Rows:
    """The rows whose class is known; all rows if none is."""
    known = np.flatnonzero(labels >= 0)
    return known if len(known) else np.arange(len(labels))


def _is_amount(limit: int | float) -> bool:
    """A count of at least 1, or a fraction; 1.0 could be either."""
    if limit < 1:
        return limit > 0
    return isinstance(limit, int) or (limit > 1 and limit.is_integer())
