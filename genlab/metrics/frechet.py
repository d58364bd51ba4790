"""Fréchet distance between the features of two sets of images."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor
from torchmetrics import Metric


def frechet_distance(mean1: Tensor, cov1: Tensor, mean2: Tensor, cov2: Tensor) -> Tensor:
    """Squared Fréchet (2-Wasserstein) distance of two Gaussians: a scalar float64, at least 0.

    ||m1 - m2||^2 + tr C1 + tr C2 - 2 tr (C1 C2)^(1/2). The last trace is the sum of the singular
    values of C1^(1/2) C2^(1/2): unlike the root of the product it never leaves the real numbers,
    and it needs no full rank.

    Args:
        mean1: mean of the first, (F,).
        cov1: its covariance (F, F).
        mean2: mean of the second.
        cov2: its covariance.

    Source: Dowson & Landau 1982, "The Fréchet distance between multivariate normal distributions";
    as a metric of generators: Heusel et al. 2017, arXiv:1706.08500.
    """
    m1, c1, m2, c2 = (part.double().cpu() for part in (mean1, cov1, mean2, cov2))
    if not bool(c1.isfinite().all() & c2.isfinite().all()):
        return c1.new_tensor(math.nan)
    (e1, u1), (e2, u2) = torch.linalg.eigh(c1), torch.linalg.eigh(c2)
    roots = [e.clamp(min=0).sqrt() for e in (e1, e2)]
    product = roots[0][:, None] * (u1.T @ u2) * roots[1]  # C1^(1/2) C2^(1/2), up to rotations
    cross = torch.linalg.svdvals(product).sum()
    return ((m1 - m2).square().sum() + c1.trace() + c2.trace() - 2 * cross).clamp(min=0)


class FrechetDistance(Metric):
    """FID of features that stream by, from sums in float64: exact for any number of ranks.

    The distance is biased: it falls as either set grows. Compare only at equal counts, which
    `counts` tells.

    Args:
        dim: F, the width of the features.

    Source: see `frechet_distance`; covariances are divided by N - 1, as in the reference code
    (bioinf-jku/TTUR). Departure: none.
    """

    higher_is_better = False
    full_state_update = False
    total: Tensor  # (2, F): of generated, of real features
    gram: Tensor  # (2, F, F)
    counts: Tensor  # (2,) int64

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        for name, shape in {"total": (2, dim), "gram": (2, dim, dim)}.items():
            zeros = torch.zeros(shape, dtype=torch.float64)
            self.add_state(name, default=zeros, dist_reduce_fx="sum")
        none = torch.zeros(2, dtype=torch.int64)
        self.add_state("counts", default=none, dist_reduce_fx="sum")

    def update(self, features: Tensor, real: bool) -> None:
        """Add features (B, F) of real or of generated images."""
        x, which = features.detach().double(), int(real)
        self.total[which] += x.sum(0)
        self.gram[which] += x.T @ x
        self.counts[which] += len(x)

    def compute(self) -> Tensor:
        """The distance, a scalar float64.

        Raises:
            ValueError: fewer than two features in a set.
        """
        least = int(self.counts.min())
        if least < 2:
            real, generated = int(self.counts[1]), int(self.counts[0])
            raise ValueError(f"FID requires two images in each set, got {generated} and {real}")
        if least <= self.dim:
            warnings.warn(
                f"FID of {least:,} images in {self.dim:,} dimensions: their covariance has not "
                "full rank and the metric is far too high; take more images",
                stacklevel=2,
            )
        means = self.total / self.counts[:, None]
        outer = self.counts[:, None, None] * means[:, :, None] * means[:, None]
        covariances = (self.gram - outer) / (self.counts[:, None, None] - 1)
        return frechet_distance(means[0], covariances[0], means[1], covariances[1])
