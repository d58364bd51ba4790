"""Paths from noise to data, and pairs of noise and data that flow matching joins.

Lipman et al. 2022, arXiv:2210.02747; Liu, Gong, Liu 2022, arXiv:2209.03003; pairs by optimal
transport: Tong et al. 2023, arXiv:2302.00482. Time is 0 at the noise and 1 at the data.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

PATHS = ("straight", "variance_preserving")


def path_weights(path: str, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Weights of data and noise at time t, and their derivatives: (B,) -> 4 x (B,).

    ``straight``: t and 1 - t, the line of optimal transport; ``variance_preserving``: sine and
    cosine of pi t / 2.

    Raises:
        ValueError: unknown path.
    """
    if path == "straight":
        one = torch.ones_like(t)
        return t, 1 - t, one, -one
    if path == "variance_preserving":
        quarter = math.pi / 2
        sine, cosine = (quarter * t).sin(), (quarter * t).cos()
        return sine, cosine, quarter * cosine, -quarter * sine
    raise ValueError(f"unknown path {path!r}; choose from {', '.join(PATHS)}")


def path_point(path: str, noise: Tensor, data: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Place on the path at time t, and its velocity there: 2 x (B, ...), (B,) -> 2 x (B, ...)."""
    shape = (-1, *[1] * (data.dim() - 1))
    alpha, sigma, alpha_rate, sigma_rate = (w.view(shape) for w in path_weights(path, t))
    return alpha * data + sigma * noise, alpha_rate * data + sigma_rate * noise


def velocity_error(velocity: Tensor, target: Tensor) -> Tensor:
    """Squared distance, summed over dimensions: 2 x (B, ...) -> (B,), at least float32."""
    velocity = velocity if velocity.dtype == torch.float64 else velocity.float()
    return (velocity - target).square().flatten(1).sum(1)


@torch.no_grad()
def transport_pairs(noise: Tensor, data: Tensor, label: Tensor | None = None) -> Tensor:
    """The row of noise for each row of data, at the least summed squared distance: (B,).

    An assignment: every row of noise is used once. With labels, rows change places within a class
    only, because noise that depends on the class would never be seen in sampling (Cheng & Schwing
    2025, arXiv:2503.10636). Solved on the CPU, in time of B^3.

    Args:
        noise: (B, ...).
        data: (B, ...).
        label: classes (B,), or None.
    """
    from scipy.optimize import linear_sum_assignment

    pairs = torch.arange(len(data))
    classes = torch.zeros(len(data)) if label is None else label.cpu()
    for kind in classes.unique():
        rows = (classes == kind).nonzero()[:, 0]
        ends, starts = (x[rows.to(x.device)].flatten(1).double().cpu() for x in (data, noise))
        cost = torch.cdist(ends, starts, compute_mode="donot_use_mm_for_euclid_dist").square()
        pairs[rows] = rows[torch.as_tensor(linear_sum_assignment(cost.numpy())[1])]
    return pairs.to(data.device)
