"""Label budget: the training images whose labels may be used, drawn once and kept in a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from genlab.data.labels.file import rows_of
from genlab.data.loader import Source
from genlab.data.splits import Rows
from genlab.errors import check_names

SETTINGS = ("count", "per_class", "imbalance")


@dataclass(frozen=True)
class Budget:
    """A number of labels, or the file that names them.

    Args:
        count: number over all classes; None if ``per_class`` or ``file`` is given.
        per_class: number for each class.
        imbalance: ratio of the most frequent class to the rarest; class k of K gets a share in
            proportion to imbalance^(-k / (K - 1)) of ``count``.
        file: an earlier run's ``labels.json``, or any JSON object with ``indices``.
        seed: seed of the choice; independent of ``seed_everything``. Within a class a larger budget
            contains the smaller ones.

    Raises:
        ValueError: a value out of range.
    """

    count: int | None = None
    per_class: int | None = None
    imbalance: float = 1.0
    file: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("count", "per_class"):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if value is not None and (not whole or value < 1):
                raise ValueError(f"labels: {name} must be a whole number from 1, not {value!r}")
        if sum(v is not None for v in (self.count, self.per_class, self.file)) != 1:
            raise ValueError("labels must be a number, {per_class: n}, {count: n} or a file")
        if self.imbalance < 1:
            raise ValueError(f"labels: imbalance {self.imbalance} must be at least 1")
        if self.imbalance > 1 and self.count is None:
            raise ValueError("labels: imbalance requires count")

    def choose(self, name: str, source: Source, rows: Rows, num_classes: int) -> Rows:
        """Rows of the source whose labels may be used, ascending.

        Args:
            name: name of the data set, for messages and the file.
            source: its training images.
            rows: rows that are not held out, ascending.
            num_classes: K.

        Raises:
            ValueError: more labels than a class has, a class without any, or a file of other data.
        """
        labels = source.labels.numpy()[rows]
        if self.file is not None:
            chosen = rows_of(self.file, name, source, rows)
        else:
            chosen = rows[self._drawn(labels, num_classes)]
        counts = np.bincount(source.labels.numpy()[chosen], minlength=num_classes)
        missing = np.flatnonzero(counts == 0)
        if len(missing):
            raise ValueError(
                f"labels {self.file or self.count}: class {missing[0]} has none of the "
                f"{len(chosen)} labels; each of {num_classes} classes requires at least one"
            )
        return np.sort(chosen)

    def _drawn(self, labels: Rows, num_classes: int) -> Rows:
        """Positions in ``labels``, class by class from a generator of its own."""
        wanted = self._counts(num_classes)
        chosen = []
        for label, number in enumerate(wanted):
            of_class = np.flatnonzero(labels == label)
            if number > len(of_class):
                raise ValueError(
                    f"labels: {number} of class {label} are requested, it has {len(of_class)} "
                    "training images with a label"
                )
            chosen.append(np.random.default_rng((self.seed, label)).permutation(of_class)[:number])
        return np.concatenate(chosen)

    def _counts(self, num_classes: int) -> list[int]:
        """Labels of each class: shares rounded so that they add up, a random class first."""
        if self.per_class is not None:
            return [self.per_class] * num_classes
        assert self.count is not None
        if self.count < num_classes:
            raise ValueError(
                f"labels {self.count}: {num_classes} classes require at least one each"
            )
        share = self.imbalance ** -(np.arange(num_classes) / max(1, num_classes - 1))
        exact = share / share.sum() * self.count
        counts = np.maximum(1, exact.astype(int))
        order = np.random.default_rng(self.seed).permutation(num_classes)  # among equals
        while counts.sum() < self.count:
            counts[order[np.argmax((exact - counts)[order])]] += 1
        while counts.sum() > self.count:  # what a minimum of one each added
            counts[np.argmax(counts)] -= 1
        return counts.tolist()


def budget_from(options: int | str | Mapping[str, Any], seed: int) -> Budget:
    """The budget requested by a recipe's ``labels:``.

    Args:
        options: a number, ``{per_class: n}``, ``{count: n, imbalance: r}`` or a file's path.
        seed: seed of the choice.

    Raises:
        ValueError: an unknown setting, or a value out of range.
    """
    if isinstance(options, str):
        return Budget(file=Path(options).expanduser(), seed=seed)
    given = dict(options) if isinstance(options, Mapping) else {"count": options}
    check_names("labels", given, SETTINGS)
    return Budget(**given, seed=seed)
