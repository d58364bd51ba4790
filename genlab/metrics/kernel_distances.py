"""Kernel distance (KID) between two sets of features, without assumptions on their shape."""

from __future__ import annotations

import torch
from torch import Tensor


def polynomial_mmd(x: Tensor, y: Tensor) -> Tensor:
    """Squared maximum mean discrepancy under the kernel (x.y / F + 1)^3, unbiased.

    Its mean is 0 when both sets come from one distribution, so single values lie on both sides.

    Args:
        x: (N, F), N at least 2.
        y: (M, F), M at least 2.

    Returns:
        A scalar float64.
    """
    x, y = x.double(), y.double()
    within = [_off_diagonal_mean(_kernel(z, z)) for z in (x, y)]
    return within[0] + within[1] - 2 * _kernel(x, y).mean()


def kernel_distance(
    generated: Tensor, real: Tensor, subsets: int = 100, size: int = 1000, seed: int = 0
) -> dict[str, float]:
    """KID: mean and standard deviation of `polynomial_mmd` over random subsets of both sets.

    Args:
        generated: features (N, F), in an order that does not depend on the number of ranks.
        real: features (M, F).
        subsets: number of subsets.
        size: images of each set in a subset; smaller sets are taken whole.
        seed: seed of the choice.

    Returns:
        ``kid``; ``kid_sd``, the deviation of one subset's value from the mean: subsets are drawn
        without replacement and overlap, and a set that is taken whole adds nothing to it, so it is
        0 if both are; and the ``kid_subset_size`` used.

    Raises:
        ValueError: fewer than two images a set.

    Source: Binkowski et al. 2018, arXiv:1801.01401; 100 subsets of 1,000.
    """
    size = min(size, len(generated), len(real))
    if size < 2:
        raise ValueError(
            f"KID requires two images in each set, got {len(generated)} and {len(real)}"
        )
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(subsets):
        rows = [torch.randperm(len(z), generator=generator)[:size] for z in (generated, real)]
        values.append(polynomial_mmd(generated[rows[0]], real[rows[1]]))
    found = torch.stack(values)
    return {
        "kid": float(found.mean()),
        "kid_sd": float(found.std(correction=0)),
        "kid_subset_size": size,
    }


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _off_diagonal_mean(square: Tensor) -> Tensor:
    n = len(square)
    return (square.sum() - square.trace()) / (n * (n - 1))
