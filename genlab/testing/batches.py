"""Batches made ready once, and their rows dealt out anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import lightning as L
import torch
from torch import Tensor

Batch = dict[str, Any]
Rows = dict[int, tuple[Tensor, int]]  # images in a batch -> their rows in the base batch, its size
Pick = Callable[[int], Tensor]  # of n images -> the rows to take


def everything(n: int) -> Tensor:
    """All rows in their order."""
    return torch.arange(n)


def prepared(data: L.LightningDataModule, count: int) -> list[Batch]:
    """The first training batches, as a method gets them.

    Args:
        data: set up for ``fit``.
        count: number of batches; an epoch comes again where it has fewer.

    Raises:
        ValueError: no training batch.
    """
    found: list[Batch] = []
    while len(found) < count:
        before = len(found)
        for batch in data.train_dataloader():
            moved = data.transfer_batch_to_device(batch, torch.device("cpu"), 0)
            found.append(data.on_after_batch_transfer(moved, 0))
            if len(found) == count:
                break
        if len(found) == before:
            raise ValueError("the data have no training batch")
    return found


def take(batch: Batch, pick: Pick) -> Batch:
    """Rows of every part of a batch; what has no row for an image stays."""
    size = images(batch)
    return {key: _taken(value, pick, size) for key, value in batch.items()}


def _taken(value: Any, pick: Pick, size: int) -> Any:
    if isinstance(value, dict):
        return take(value, pick)
    if isinstance(value, list):
        return [_taken(inner, pick, size) for inner in value]
    if isinstance(value, Tensor) and value.dim() and len(value) == size:
        return value[pick(size)]
    return value


def images(batch: Batch) -> int:
    """Number of images in a batch or a part of it; 0 where its parts contain them."""
    for value in batch.values():
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, Tensor) and first.dim():
            return len(first)
    return 0


def rows_of(batch: Batch, pick: Pick) -> Rows:
    """Rows that `RowNoise` needs for ``take(batch, pick)``."""
    sizes = [images(part) for part in batch.values() if isinstance(part, dict)]
    sizes += [images(batch)]
    return {len(pick(n)): (pick(n), n) for n in sizes if n}


class Loader:
    """A training loader of given batches."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)


class Given(L.LightningDataModule):
    """A data module in everything but its training batches, which are given ones.

    Args:
        data: the module in question.
        batches: as a method gets them.
    """

    def __init__(self, data: L.LightningDataModule, batches: list[Batch]) -> None:
        super().__init__()
        self.inner, self.given = data, batches

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["inner"], name)

    def train_dataloader(self) -> Loader:
        """The given batches, in order."""
        return Loader(self.given)

    def val_dataloader(self) -> Any:
        """The module's own."""
        return self.inner.val_dataloader()
