"""Vectors of times and classes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genlab.networks.mlps import mlp

SCALE = 1000.0  # sinusoids are made for steps up to 1000; unscaled, close times look the same
SLOWEST = 10_000.0  # ratio of the fastest to the slowest sinusoid


def time_features(t: Tensor, width: int, scale: float = SCALE) -> Tensor:
    """Cosines and sines of a time in [0, 1]: (B,) -> (B, width), at least float32.

    Args:
        t: times.
        width: number of features, even.
        scale: angle of the fastest at time 1; smaller for a velocity that is smoother in time.

    Raises:
        ValueError: the width is odd.

    Source: Vaswani et al. 2017, arXiv:1706.03762; of steps: Ho, Jain, Abbeel 2020,
    arXiv:2006.11239.
    """
    if width % 2:
        raise ValueError(f"time_features require an even width, got {width}")
    t = t if t.dtype == torch.float64 else t.float()
    half = torch.arange(width // 2, device=t.device, dtype=t.dtype)
    angle = scale * t[:, None] * torch.exp(half * (-math.log(SLOWEST) / (width // 2)))
    return torch.cat([angle.cos(), angle.sin()], 1)


class Condition(nn.Module):
    """The vector of a time and, with classes, a class: (B,), (B,) -> (B, width).

    Args:
        width: width of the vector, and of the time's features.
        num_classes: K, 0 for none. A last row K of the table means "no class".
        scale: angle of the time's fastest feature at time 1.
    """

    def __init__(self, width: int, num_classes: int = 0, scale: float = SCALE) -> None:
        super().__init__()
        self.width, self.num_classes, self.scale = width, num_classes, scale
        self.time = mlp(width, width, width, activation="silu")
        self.label = nn.Embedding(num_classes + 1, width) if num_classes else None

    def forward(self, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Labels below 0, and no labels at all, mean "no class"."""
        vector: Tensor = self.time(time_features(t, self.width, self.scale))
        if self.label is None:
            return vector
        none = torch.full(t.shape, self.num_classes, device=t.device)
        return vector + self.label(none if label is None else none.where(label < 0, label))
