"""Distances of distributions by sorting and counting: Wasserstein, sliced, Jensen-Shannon."""

from __future__ import annotations

import torch
from torch import Tensor

DIRECTIONS = 1000
BLOCK = 50  # directions at a time


def wasserstein(x: Tensor, y: Tensor, p: float = 1.0) -> Tensor:
    """Wasserstein distance of sets of numbers to its p-th power, exact for unequal sizes.

    The integral of |F^-1 - G^-1|^p over the union of both sets' quantile steps.

    Args:
        x: (N,) or (N, K), K sets side by side.
        y: (M,) or (M, K).
        p: the power, at least 1.

    Returns:
        A scalar float64, or (K,).

    Raises:
        ValueError: an empty set, or p below 1.

    Source: Vallender 1974; as scipy.stats.wasserstein_distance for p = 1.
    """
    n, m = len(x), len(y)
    if not (n and m) or p < 1:
        raise ValueError(f"Wasserstein distance requires numbers and p of at least 1, got p {p}")
    steps = torch.cat([torch.arange(1, n + 1) * m, torch.arange(1, m + 1) * n]).unique()  # exact
    width = steps.diff(prepend=steps.new_zeros(1)).double() / (n * m)
    a = x.double().sort(0).values[(steps - 1) // m]
    b = y.double().sort(0).values[(steps - 1) // n]
    return torch.tensordot(width.to(a.device), (a - b).abs().pow(p), 1)


def sliced_wasserstein(
    x: Tensor, y: Tensor, directions: int = DIRECTIONS, p: float = 2.0, seed: int = 0
) -> float:
    """Mean over random directions of `wasserstein` of the projections, to the p-th power.

    A shift by m gives |m|^2 / F for p = 2. Directions come from the seed alone, so all rows of a
    table have the same.

    Args:
        x: (N, F).
        y: (M, F).
        directions: number of directions; 1,000 leave about 1 % of spread.
        p: the power.
        seed: seed of the directions.

    Source: Rabin et al. 2012; Bonneel et al. 2015. Departure: POT returns the root.
    """
    generator = torch.Generator().manual_seed(seed)
    lines = torch.randn(directions, x.shape[1], generator=generator, dtype=torch.float64)
    lines /= lines.norm(dim=1, keepdim=True)
    parts = [
        wasserstein(x.double() @ some.T.to(x.device), y.double() @ some.T.to(y.device), p)
        for some in lines.split(BLOCK)
    ]
    return float(torch.cat(parts).mean())


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """Jensen-Shannon divergence of two histograms in nats: between 0 and log 2.

    Args:
        p: counts or probabilities (K,) over common edges.
        q: (K,).

    Raises:
        ValueError: negative or empty histograms.

    Source: Lin 1991. Departure: scipy.spatial.distance.jensenshannon is its root.
    """
    if min(float(p.min()), float(q.min())) < 0 or not (p.sum() > 0 and q.sum() > 0):
        raise ValueError("a histogram is not of counts that are at least 0 and not all 0")
    a, b = (part.double() / part.double().sum() for part in (p, q))
    middle = (a + b) / 2
    entropy = [torch.special.entr(part).sum() for part in (middle, a, b)]
    return max(0.0, float(entropy[0] - (entropy[1] + entropy[2]) / 2))
