"""Images in memory as one tensor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from genlab.augment import binarize
from genlab.data.errors import BrokenDataError
from genlab.data.loader import Batch
from genlab.data.on_device import as_bytes

FIXED_SEEDS = {"train": 1 << 40, "val": 2 << 40, "test": 3 << 40}  # of images binarised once
CHUNK = 4096


class Pictures:
    """A data set in memory.

    Args:
        images: (N, C, H, W) uint8; or uint16, or float in [0, 1].
        labels: (N,) int64, -1 where unknown; None when all are.
        index: (N,) int64, position in the data set that they come from; None for 0 to N - 1.
    """

    def __init__(
        self, images: Tensor, labels: Tensor | None = None, index: Tensor | None = None
    ) -> None:
        unknown = torch.full((len(images),), -1)
        self.images = images.contiguous()
        self.labels = unknown if labels is None else labels.long()
        self.index = torch.arange(len(images)) if index is None else index.long()
        self._whole = index is None

    def __len__(self) -> int:
        return len(self.images)

    def read(self, batches: Iterable[Tensor]) -> Iterator[Batch]:
        """For each tensor of rows, the batch ``image label index``, where rows may be ``index``."""
        for rows in batches:
            yield {
                "image": self.images.index_select(0, rows),
                "label": self.labels.index_select(0, rows),
                "index": rows if self._whole else self.index.index_select(0, rows),
            }

    def subset(self, rows: Tensor) -> Pictures:
        """A copy of some rows."""
        return Pictures(self.images[rows], self.labels[rows], self.index[rows])

    def binarized(self, rows: Tensor, split: str) -> Pictures:
        """A copy of some rows, each pixel drawn once, independently of rank and batch size."""
        drawn = torch.empty((len(rows), *self.images.shape[1:]), dtype=torch.uint8)
        for number, chunk in enumerate(drawn.split(CHUNK)):
            grey = as_bytes(self.images[rows[number * CHUNK :][: len(chunk)]])
            chunk.copy_(binarize(grey, FIXED_SEEDS[split] + number, sliced=False))
        return Pictures(drawn, self.labels[rows], self.index[rows])

    def check(self, name: str, shape: tuple[int, int, int], num_classes: int) -> None:
        """Refuse images of a wrong shape or type, and labels out of range.

        Raises:
            BrokenDataError: with the split and the position of the first wrong one.
        """
        if self.images.dtype != torch.uint8 or tuple(self.images.shape[1:]) != shape:
            got = f"{tuple(self.images.shape[1:])} {self.images.dtype}"
            raise BrokenDataError(f"{name}: images are {got}, expected {shape} torch.uint8")
        check_labels(name, self.labels, len(self), num_classes)


def check_labels(name: str, labels: Tensor, count: int, num_classes: int) -> None:
    """Refuse labels below -1 or not below ``num_classes``, or not one per image.

    Raises:
        BrokenDataError: with the position of the first wrong label.
    """
    if len(labels) != count:
        raise BrokenDataError(f"{name}: {len(labels)} labels for {count} images")
    wrong = ((labels < -1) | (labels >= num_classes)).nonzero()
    if len(wrong):
        at = int(wrong[0])
        raise BrokenDataError(
            f"{name}: image {at} has label {int(labels[at])}; "
            f"labels are 0 to {num_classes - 1}, or -1 where unknown"
        )
