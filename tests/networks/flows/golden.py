"""Inputs of golden values that other libraries gave."""

from __future__ import annotations

import torch
from torch import Tensor


def first(n: int, d: int) -> Tensor:
    """sin(1 + 1.7 i + .9 j + .31 i j): (n, d) float64."""
    i, j = _places(n, d)
    return torch.sin(1 + 1.7 * i + 0.9 * j + 0.31 * i * j)


def second(n: int, d: int) -> Tensor:
    """sin(2 + 1.3 i + .7 j + .23 i j): (n, d) float64."""
    i, j = _places(n, d)
    return torch.sin(2 + 1.3 * i + 0.7 * j + 0.23 * i * j)


def _places(n: int, d: int) -> tuple[Tensor, Tensor]:
    return torch.arange(n, dtype=torch.float64)[:, None], torch.arange(d, dtype=torch.float64)
