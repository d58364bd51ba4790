"""Number of latents that a VAE uses."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class ActiveUnits(Metric):
    """Number of latents whose posterior mean varies over the data: Var_x E[z_d | x] > threshold.

    Args:
        latent_dim: D.
        threshold: smallest variance of an active latent; 0.01 in the source.

    Source: Burda, Grosse, Salakhutdinov 2015, arXiv:1509.00519, section 5. Sums in float64, so
    that ranks and batches merge exactly.
    """

    higher_is_better = True
    full_state_update = False
    total: Tensor
    squares: Tensor
    count: Tensor

    def __init__(self, latent_dim: int, threshold: float = 0.01) -> None:
        super().__init__()
        self.threshold = threshold
        zeros = torch.zeros(latent_dim, dtype=torch.float64)
        self.add_state("total", default=zeros.clone(), dist_reduce_fx="sum")
        self.add_state("squares", default=zeros.clone(), dist_reduce_fx="sum")
        self.add_state("count", default=torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, mean: Tensor) -> None:
        """Posterior means of a batch, (B, D)."""
        mean = mean.double()
        self.total += mean.sum(0)
        self.squares += mean.square().sum(0)
        self.count += len(mean)

    def compute(self) -> Tensor:
        """The number of active latents, a float scalar."""
        average = self.total / self.count
        variance = self.squares / self.count - average.square()
        return (variance > self.threshold).sum().float()
