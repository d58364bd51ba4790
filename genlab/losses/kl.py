"""Kullback-Leibler divergences between diagonal normals, one value per sample."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.distributed import all_reduce_sum, world_size
from genlab.losses.numbers import as_tensor_of, precise

LOG_2PI = 1.8378770664093453


def kl_standard_normal(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, e^logvar) || N(0, 1)) of each latent: (B, D) -> (B, D), in nats.

    Summed over D it is the VAE's KL term (Kingma & Welling 2013, arXiv:1312.6114, appendix B).
    """
    mean, logvar = precise(mean), precise(logvar)
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar)


def kl_normal(mean: Tensor, logvar: Tensor, mean2: Tensor, logvar2: Tensor | float = 0.0) -> Tensor:
    """KL(N(mean, e^logvar) || N(mean2, e^logvar2)) of each latent: (B, D) -> (B, D), in nats."""
    mean, logvar = precise(mean), precise(logvar)
    logvar2 = as_tensor_of(mean, logvar2)
    spread = (mean - mean2).square() / logvar2.exp()
    return 0.5 * (spread + (logvar - logvar2).exp() - 1 - (logvar - logvar2))


def normal_log_prob(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """Log N(z; mean, e^logvar) summed over the last dimension: (..., D) -> (...)."""
    z, mean, logvar = precise(z), precise(mean), precise(logvar)
    per_latent = (z - mean).square() * (-logvar).exp() + logvar + LOG_2PI
    return -0.5 * per_latent.sum(-1)


def free_bits(kl: Tensor, minimum: float) -> Tensor:
    """KL loss in which each latent has ``minimum`` nats for free: (B, D) -> ().

    sum_d max(minimum, batch mean of kl_d) with the mean over the batch of all ranks; averaged over
    ranks by DDP, value and gradient equal the one-process ones.

    Source: Kingma et al. 2016, arXiv:1606.04934, eq. 15, a group being one latent.
    """
    mine = kl.mean(0)  # (D,)
    every = all_reduce_sum(mine.detach()) / world_size()
    return torch.where(every > minimum, mine, torch.full_like(mine, minimum)).sum()
