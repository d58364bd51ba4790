"""The KL term of a VAE in three parts, by the aggregate posterior of the training set.

mean_x KL(q(z|x) || p(z)) = mutual information of x and z + total correlation of the latents + sum
of the latents' own KL to p(z_d), with q(z) = 1/N sum_n q(z|x_n).

Source: Chen, Li, Grosse, Duvenaud 2018 (beta-TCVAE), arXiv:1802.04942. Departure: weights of the
stratified estimate as in the paper's appendix; the reference code (rtqichen/beta-tcvae) puts them
into the wrong places of the matrix, and rows do not sum to 1.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genlab.losses.kl import LOG_2PI, normal_log_prob


def stratified_log_weights(rows: Tensor, batch: int, size: int) -> Tensor:
    """Log-weights of a batch's posteriors in q(z), for draws from some of them: (R, B).

    1/N for the posterior that z was drawn from, (N - M) / (N M) for one other, the next in the
    batch, and 1/M for the rest, M = B - 1; equal weights where the batch is the whole set.

    Args:
        rows: place in the batch of the posterior that each z was drawn from, (R,).
        batch: B.
        size: N, images of the training set.
    """
    others = batch - 1
    if others < 1 or batch >= size:
        return torch.full((len(rows), batch), -math.log(batch), device=rows.device)
    weights = torch.full((len(rows), batch), 1 / others, device=rows.device)
    next_one = (rows + 1) % batch
    place = torch.arange(batch, device=rows.device)
    weights = weights.masked_fill(place == next_one[:, None], (size - others) / (size * others))
    return weights.masked_fill(place == rows[:, None], 1 / size).log()


def kl_parts(
    z: Tensor, log_q: Tensor, mean: Tensor, logvar: Tensor, log_weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Mutual information, total correlation and the latents' KL to N(0, 1): 3 x (R,), in nats.

    Estimates from one draw of each posterior, which may be negative. Memory grows as R B D.

    Args:
        z: draws, (R, D).
        log_q: log q(z|x) of each under its own posterior, (R,).
        mean: means of the batch's posteriors, (B, D).
        logvar: their log-variances, (B, D).
        log_weights: their log-weights in q(z) for each draw, (R, B).
    """
    z, mean, logvar = (x if x.dtype == torch.float64 else x.float() for x in (z, mean, logvar))
    spread = (z[:, None] - mean).square() * (-logvar).exp()  # (R, B, D)
    each = -0.5 * (spread + logvar + LOG_2PI)
    log_all = (each.sum(2) + log_weights).logsumexp(1)  # log q(z), (R,)
    log_each = (each + log_weights[..., None]).logsumexp(1).sum(1)  # sum_d log q(z_d), (R,)
    zero = torch.zeros((), device=z.device, dtype=z.dtype)
    return log_q - log_all, log_all - log_each, log_each - normal_log_prob(z, zero, zero)
