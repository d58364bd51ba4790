"""Whitening: a fixed linear layer that gives the training data mean 0 and covariance 1."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

ROWS = 100_000  # training vectors from which mean and covariance are taken
RIDGE = 1e-6  # added to the variances, as a share of their mean


class Whitening(nn.Module):
    """z = L^-1 (x - m) with the mean m and the Cholesky factor L of the covariance.

    L is lower triangular: z_d depends on x_1 ... x_d, so an autoregressive layer after it has the
    same order. The log-determinant is counted: log-densities stay in the units of the data.
    The identity until `fit`; mean and factor are buffers, and no step changes them.

    Args:
        dim: D of (B, D).
    """

    mean: Tensor
    factor: Tensor
    fitted: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("factor", torch.eye(dim))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.uint8))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) -> (B, D) and the log-determinant (B,)."""
        with torch.autocast(x.device.type, enabled=False):
            centred = (x - self.mean).T
            z = torch.linalg.solve_triangular(self.factor, centred, upper=False).T
            return z, -self._log_det(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) -> (B, D) and the log-determinant (B,)."""
        with torch.autocast(z.device.type, enabled=False):
            return z @ self.factor.T + self.mean, self._log_det(z)

    @torch.no_grad()
    def fit(self, rows: Iterable[Tensor]) -> None:
        """Take mean and covariance from batches (B, D), in float64.

        Raises:
            ValueError: no vectors, or all of them equal.
        """
        every = torch.cat([part.to("cpu", torch.float64) for part in rows])
        spread = every.var(0, correction=0).mean() if len(every) else torch.zeros(())
        if spread <= 0:
            raise ValueError(f"whiten requires vectors that differ, got {len(every)}")
        ridge = RIDGE * spread * torch.eye(len(self.mean), dtype=torch.float64)
        factor = torch.linalg.cholesky(every.T.cov(correction=0) + ridge)
        self.mean.copy_(every.mean(0))
        self.factor.copy_(factor)
        self.fitted.fill_(1)

    def _log_det(self, x: Tensor) -> Tensor:
        return self.factor.diagonal().log().sum().expand(len(x))
