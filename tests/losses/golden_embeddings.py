"""Embeddings that anyone can write down, for values on paper."""

from __future__ import annotations

import torch
from torch import Tensor


def x(s: float, n: int, d: int) -> Tensor:
    """(n, d) float64: sin(s + 1.7 i + 0.9 j + 0.31 i j)."""
    i, j = torch.arange(n).double()[:, None], torch.arange(d).double()
    return torch.sin(s + 1.7 * i + 0.9 * j + 0.31 * i * j)
