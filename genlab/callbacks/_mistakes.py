"""Tables of a test: the first predictions, and the mistakes that a classifier is surest of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from genlab import distributed

SIDE = 128  # pixels of an image in a table; larger ones lose rows and columns
COLUMNS = ("index", "image", "label", "predicted", "confidence")


class Row(NamedTuple):
    """A prediction.

    Args:
        position: position of the image in the data set.
        image: (C, H, W) bytes.
        label: class of the image.
        predicted: class that the method takes it for.
        confidence: its probability.
    """

    position: int
    image: np.ndarray
    label: int
    predicted: int
    confidence: float


class Mistakes:
    """The first predictions of a test and its worst errors, at most ``most`` of each.

    Args:
        most: rows of a table.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.first: list[Row] = []
        self.worst: list[Row] = []

    def update(self, image: Tensor, index: Tensor, probabilities: Tensor, label: Tensor) -> None:
        """Look at a batch: (B, C, H, W) in [0, 1], (B,), (B, K) and (B,), -1 where unknown."""
        sure, guess = probabilities.max(1)
        wrong = ((guess != label) & (label >= 0)).nonzero()[:, 0]
        wrong = wrong[sure[wrong].argsort(descending=True)[: self.most]]

        def rows(which: Sequence[int]) -> list[Row]:
            return [
                Row(
                    int(index[k]),
                    _small(image[k]),
                    int(label[k]),
                    int(guess[k]),
                    float(sure[k]),
                )
                for k in which
            ]

        self.first += rows(range(min(len(label), self.most - len(self.first))))
        self.worst = _surest([*self.worst, *rows(wrong.tolist())])[: self.most]

    def gathered(self) -> tuple[list[Row], list[Row]]:
        """The rows of all ranks: first predictions in the order of the data, worst errors first."""
        first, worst = list[Row](), list[Row]()
        for one, other in distributed.gather_objects((self.first, self.worst)):
            first, worst = first + one, worst + other
        first.sort(key=lambda row: row.position)
        return first[: self.most], _surest(worst)[: self.most]


def table(rows: Sequence[Row], names: Sequence[str], predicted: Sequence[str]) -> list[list[Any]]:
    """Rows in the order of `COLUMNS`, classes by their names, images (H, W, 3) bytes.

    Args:
        rows: predictions.
        names: names of the labels.
        predicted: names of the method's classes.
    """
    return [
        [
            row.position,
            _colours(row.image),
            _name(names, row.label),
            _name(predicted, row.predicted),
            round(row.confidence, 4),
        ]
        for row in rows
    ]


def _name(names: Sequence[str], label: int) -> str:
    return names[label] if 0 <= label < len(names) else ""


def _surest(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (-row.confidence, row.position))


def _small(image: Tensor) -> np.ndarray:
    every = -(-max(image.shape[1:]) // SIDE)
    part = image[:, ::every, ::every].detach().float().clamp(0, 1)
    return (part * 255).round().byte().cpu().numpy()


def _colours(image: np.ndarray) -> np.ndarray:
    """(C, H, W) -> (H, W, 3), the first channel alone unless there are three or more."""
    shown = image[:3] if len(image) >= 3 else image[:1].repeat(3, 0)
    return np.ascontiguousarray(shown.transpose(1, 2, 0))
