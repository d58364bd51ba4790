"""Disentanglement of codes from known factors: mutual information gap and DCI."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

BINS = 20


def mutual_information_gap(codes: Tensor, factors: Tensor, bins: int = BINS) -> Tensor:
    """MIG of each factor: the gap between the two codes that tell most of it, over its entropy.

    Codes are cut into bins of equal width, which adds about (bins - 1)(levels - 1) / 2N nats to
    every mutual information: compare at one N. A constant code tells nothing.

    Args:
        codes: (N, D), D at least 2.
        factors: (N, K) int64, levels of the known factors.
        bins: number of bins of a code.

    Returns:
        (K,) float64 in [0, 1]; their mean is the MIG.

    Raises:
        ValueError: fewer than two codes, or a factor with one level.

    Source: Chen et al. 2018, arXiv:1802.04942, as binned in disentanglement_lib (Locatello et al.
    2019, arXiv:1811.12359). Departure: none; beta-tcvae's code estimates the information from
    q(z|x) instead, which gives other values.
    """
    if codes.shape[1] < 2:
        raise ValueError(f"MIG requires two codes, got {codes.shape[1]}")
    levels = [factor.unique(return_inverse=True)[1] for factor in factors.T]
    cut = [_binned(code, bins) for code in codes.double().T]
    gaps = []
    for k, level in enumerate(levels):
        entropy = mutual_information(level, level)
        if not entropy:
            raise ValueError(f"factor {k} has one level; it cannot be told")
        told = torch.stack([mutual_information(code, level) for code in cut])
        first, second = told.topk(2).values
        gaps.append((first - second) / entropy)
    return torch.stack(gaps)


def mutual_information(x: Tensor, y: Tensor) -> Tensor:
    """Mutual information of two discrete variables in nats, from their counts: 2 x (N,) int64."""
    high = int(y.max()) + 1
    joint = (x * high + y).bincount(minlength=(int(x.max()) + 1) * high).view(-1, high)
    p = joint.double() / joint.sum()
    entropies = [torch.special.entr(part).sum() for part in (p.sum(0), p.sum(1), p)]
    return (entropies[0] + entropies[1] - entropies[2]).clamp(min=0)


def dci(importance: Tensor) -> tuple[float, float]:
    """Disentanglement and completeness of a matrix of importances.

    Disentanglement: how far a code is important for one factor alone, 1 - H_K(row), weighted by
    the codes' total importance; completeness: how far a factor depends on one code alone,
    1 - H_D(column), weighted by the factors'.

    Args:
        importance: (D, K), at least 0, of each of D codes for each of K factors, both at least 2.

    Returns:
        Both in [0, 1]; 0 where no code is important for any factor.

    Raises:
        ValueError: one code or one factor, which has no other to be told from.

    Source: Eastwood & Williams 2018; disentanglement_lib's weights.
    """
    if min(importance.shape) < 2:
        codes, factors = importance.shape
        raise ValueError(f"DCI requires two codes and two factors, got {codes} and {factors}")
    r = importance.double()
    return _purity(r), _purity(r.T)


def importances(
    codes: Tensor, factors: Tensor, test_codes: Tensor, test_factors: Tensor, seed: int = 0
) -> tuple[Tensor, float]:
    """Importance of every code for every factor by gradient-boosted trees, and their accuracy.

    Args:
        codes: (N, D) that the trees learn from.
        factors: (N, K) int64.
        test_codes: (M, D) whose factors they predict.
        test_factors: (M, K) int64.
        seed: seed of the trees.

    Returns:
        (D, K) float64, and the mean accuracy, DCI's informativeness.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    columns: list[np.ndarray] = []
    right: list[float] = []
    for k in range(factors.shape[1]):
        trees = GradientBoostingClassifier(random_state=seed)
        trees.fit(codes.numpy(), factors[:, k].numpy())
        columns.append(np.abs(trees.feature_importances_))
        right.append(float(trees.score(test_codes.numpy(), test_factors[:, k].numpy())))
    return torch.from_numpy(np.stack(columns, 1)).double(), float(np.mean(right))


def _binned(code: Tensor, bins: int) -> Tensor:
    """Bins of equal width over a code's range: (N,) -> (N,) int64, the last closed above."""
    low, high = code.min(), code.max()
    if low == high:
        return torch.zeros_like(code, dtype=torch.int64)
    edges = torch.from_numpy(np.linspace(float(low), float(high), bins + 1))
    return (torch.searchsorted(edges, code.contiguous(), right=True) - 1).clamp(max=bins - 1)


def _purity(r: Tensor) -> float:
    """Mean of 1 - the entropy of each row to the base of its length, weighted by the rows' sums."""
    total = r.sum(1)
    share = r / total.clamp(min=1e-300)[:, None]
    pure = 1 - torch.special.entr(share).sum(1) / np.log(r.shape[1])
    return float((pure * total).sum() / total.sum().clamp(min=1e-300))
