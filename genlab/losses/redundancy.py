"""Losses of the correlations between the components of two embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab import distributed

EPS = 1e-5  # added to variances, as batch norm does
VICREG_EPS = 1e-4


def redundancy_reduction(z1: Tensor, z2: Tensor, off_diagonal_weight: float) -> Tensor:
    """Distance of the cross-correlation from the identity, that of Barlow Twins.

    Args:
        z1: embeddings of one view, (B, D), this process's rows.
        z2: those of the other, (B, D).
        off_diagonal_weight: lambda of the squares off the diagonal.

    Returns:
        Scalar, float32 at least: a sum over the (D, D) correlations over the batch of all
        processes. D for constant embeddings, whose correlations are 0.

    Source: Zbontar et al. 2021, arXiv:2103.03230, equation 1.
    """
    c = cross_correlation(z1, z2)
    diagonal = c.diagonal()
    off_diagonal = c.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + off_diagonal_weight * off_diagonal


def variance_invariance_covariance(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """VICReg's three terms, without their weights.

    Args:
        z1: embeddings of one view, (B, D), this process's rows; all processes hold equally many.
        z2: those of the other, (B, D).

    Returns:
        Scalars, float32 at least. Variance: relu(1 - sqrt(var + 1e-4)), mean over components and
        both views; 0.99 for constant embeddings. Invariance: squared distance of this process's
        pairs, mean over rows and components. Covariance: squares of the covariances of different
        components, their sum divided by D, both views added. Variances and covariances are over
        the batch of all processes and divided by N - 1.

    Source: Bardes, Ponce, LeCun 2022, arXiv:2105.04906, algorithm 1; facebookresearch/vicreg.
    Departure from the paper's equations, as in its algorithm and code: the distance is a mean over
    components, not their sum, and the variance term a mean over both views.
    """
    with torch.autocast(z1.device.type, enabled=False):
        kind = torch.promote_types(z1.dtype, torch.float32)
        views = z1.to(kind), z2.to(kind)
        covariances = [_covariance(z) for z in views]  # 2 x (D, D)
        spreads = [(c.diagonal() + VICREG_EPS).sqrt() for c in covariances]  # 2 x (D,)
        variance = torch.stack([(1 - spread).relu().mean() for spread in spreads]).mean()
        squares = [c.square().sum() - c.diagonal().square().sum() for c in covariances]
        invariance = (views[0] - views[1]).square().mean()
        return variance, invariance, torch.stack(squares).sum() / z1.shape[1]


def _covariance(z: Tensor) -> Tensor:
    """(D, D), over the rows of all processes, divided by N - 1."""
    n = len(z) * distributed.world_size()
    centred = z - distributed.all_reduce(z.sum(0)) / n
    return distributed.all_reduce(centred.T @ centred / (n - 1))


def cross_correlation(z1: Tensor, z2: Tensor) -> Tensor:
    """Correlation of every component of one view with every one of the other, with gradient.

    Args:
        z1: embeddings of one view, (B, D), this process's rows; all processes hold equally many.
        z2: those of the other, (B, D).

    Returns:
        (D, D), over the batch of all processes, float32 at least.
    """
    with torch.autocast(z1.device.type, enabled=False):
        kind = torch.promote_types(z1.dtype, torch.float32)
        n = len(z1) * distributed.world_size()
        a, b = (_standardised(z.to(kind), n) for z in (z1, z2))
        return distributed.all_reduce(a.T @ b / n)


def _standardised(z: Tensor, n: int) -> Tensor:
    """Components with mean 0 and variance 1 over the n rows of all processes: (B, D)."""
    centred = z - distributed.all_reduce(z.sum(0)) / n
    variance = distributed.all_reduce(centred.square().sum(0)) / n  # biased
    return centred / (variance + EPS).sqrt()
