"""FID at infinitely many samples: the intercept of a line through FIDs of subsets."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from genlab.metrics.frechet import frechet_distance

SIZES = 15
PER_DIMENSION = 5  # samples for each dimension below which FID is no line in 1/N


class Extrapolated(NamedTuple):
    """A line through FIDs over one over the number of samples."""

    intercept: float  # FID without the bias of the number of samples
    slope: float
    smallest: int  # samples of the smallest subset


def frechet_infinity(
    generated: Tensor, real: Tensor, sizes: int = SIZES, seed: int = 0
) -> Extrapolated:
    """Least squares of FID on 1/N over subsets of the samples: the value at 1/N = 0.

    It takes away the bias by the number of samples, not that by the number of real images.

    Args:
        generated: features (N, F), in an order that does not depend on the number of ranks.
        real: features (M, F).
        sizes: number of subsets, evenly spaced in size from N/10, or 5 F if that is more, to N;
            each is drawn anew without replacement.
        seed: seed of the draws.

    Raises:
        ValueError: fewer than 10 F samples: FID is far from a line in 1/N.

    Source: Chong & Forsyth 2020, arXiv:1911.07023. Departure: their draws are quasi-random normals
    of the generator, here they are subsets of samples.
    """
    n, width = generated.shape
    smallest = max(n // 10, PER_DIMENSION * width)
    if sizes < 2 or n < 2 * smallest:
        raise ValueError(
            f"FID at infinity requires {2 * PER_DIMENSION * width:,} samples "
            f"in {width:,} dimensions, got {n:,}"
        )
    generator = torch.Generator().manual_seed(seed)
    counts = torch.linspace(smallest, n, sizes, dtype=torch.float64).round()
    target = _moments(real)
    distances = []
    for count in counts.int().tolist():
        rows = torch.randperm(n, generator=generator)[:count].to(generated.device)
        distances.append(frechet_distance(*_moments(generated[rows]), *target))
    inverse = torch.stack([torch.ones_like(counts), 1 / counts], 1)
    line = torch.linalg.lstsq(inverse, torch.stack(distances)[:, None]).solution[:, 0]
    return Extrapolated(float(line[0]), float(line[1]), smallest)


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    rows = features.double()
    return rows.mean(0), torch.cov(rows.T)
