"""Distance of embeddings from the isotropic Gaussian."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab import distributed

POINTS = 17  # of the integral over t
GRIDS = {"paper": (-5.0, 5.0), "repository": (0.0, 3.0)}


def sigreg(z: Tensor, directions: Tensor, grid: str = "repository") -> Tensor:
    """Sketched isotropic Gaussian regularisation, SIGReg.

    Along each direction u the Epps-Pulley statistic compares the characteristic function of the
    projections with the normal one: N * integral |mean_n exp(i t u.z_n) - exp(-t^2 / 2)|^2
    exp(-t^2 / 2) dt, a trapezium rule of 17 points.

    Args:
        z: embeddings, (B, D), this process's rows; all processes hold equally many.
        directions: columns of length one, (D, M), the same on all processes.
        grid: ``paper`` for t from -5 to 5, or ``repository`` for t from 0 to 3, counted twice.

    Returns:
        Scalar, float32 at least: mean over the directions; N is the batch of all processes. About
        1.05 for normal embeddings whatever N; 0.402 N for embeddings that are all 0.

    Raises:
        ValueError: unknown grid.

    Source: Balestriero, LeCun 2025, arXiv:2511.08544, algorithm 1; rbalestr-lab/lejepa.
    """
    if grid not in GRIDS:
        raise ValueError(f"unknown grid {grid!r}; choose from {', '.join(GRIDS)}")
    with torch.autocast(z.device.type, enabled=False):
        kind = torch.promote_types(z.dtype, torch.float32)
        first, last = GRIDS[grid]
        t = torch.linspace(first, last, POINTS, dtype=kind, device=z.device)  # (T,)
        normal = (-t.square() / 2).exp()
        angle = (z.to(kind) @ directions.to(kind))[..., None] * t  # (B, M, T)
        n = len(z) * distributed.world_size()
        real = distributed.all_reduce(angle.cos().sum(0)) / n - normal  # (M, T)
        imaginary = distributed.all_reduce(angle.sin().sum(0)) / n
        error = (real.square() + imaginary.square()) * normal
        whole = n * torch.trapezoid(error, t, dim=1).mean()
        return whole if first < 0 else 2 * whole
