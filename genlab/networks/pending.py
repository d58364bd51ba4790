"""Tensors that batches leave for what moves after their optimiser step."""

from __future__ import annotations

import torch
from torch import Tensor


class Pending:
    """Tensors of each batch since the last optimiser step, whatever the gradient accumulation.

    A batch whose loss is computed twice in a step (SAM) leaves them once. They are not state: a
    checkpoint is written after a step, when nothing is pending.
    """

    def __init__(self) -> None:
        self._left: dict[int, tuple[Tensor, ...]] = {}

    def __len__(self) -> int:
        return len(self._left)

    def put(self, batch_idx: int, *tensors: Tensor) -> None:
        """Leave the tensors of a batch, (b, ...), in place of those that it left before."""
        self._left[batch_idx] = tensors

    def take(self) -> list[Tensor]:
        """The first tensors of all batches in a row, the second ones, ...; nothing is left."""
        found = [torch.cat(column) for column in zip(*self._left.values(), strict=True)]
        self.drop()
        return found

    def drop(self) -> None:
        """Forget what a step that was given up has left."""
        self._left = {}
