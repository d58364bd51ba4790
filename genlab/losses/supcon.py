"""The contrastive loss of labelled images: those of one class attract.

Computed in float32 (or float64) under any autocast, as in `contrastive`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genlab import distributed
from genlab.losses.contrastive import check, log_sum_exp, normalise


def supervised_contrastive(
    views: Sequence[Tensor], label: Tensor, temperature: float = 0.1
) -> Tensor:
    """Every embedding attracts all others of its class in the global batch, and repels the rest.

    Args:
        views: embeddings of each view, V x (N / world, D).
        label: class of each image, (N / world,).
        temperature: tau; divides the cosine similarities.

    Returns:
        Scalar, nats: the log is inside the sum over positives (L_out); mean over this rank's
        V N / world embeddings, of which those without a positive count 0, as in the reference.

    Raises:
        ValueError: shapes that differ, or a temperature that is not positive.

    Source: Khosla et al. 2020, arXiv:2004.11362, equation 2; HobbitLong/SupContrast.
    Departure: the reference multiplies by tau / 0.07.
    """
    for view in views:
        check(views[0], view, temperature)
    with torch.autocast(views[0].device.type, enabled=False):
        return on_the_sphere([normalise(view) for view in views], label, temperature)


def on_the_sphere(views: Sequence[Tensor], label: Tensor, temperature: float) -> Tensor:
    """`supervised_contrastive` of embeddings that have length one."""
    rows, queries = len(label), torch.cat(list(views))  # (V N / world, D)
    every = [distributed.gather(view) for view in views]  # V x (N, D)
    first = distributed.rank() * rows
    at = torch.arange(first, first + rows, device=label.device)
    own = torch.cat([at + k * len(every[0]) for k in range(len(views))])
    total = log_sum_exp(queries, torch.cat(every), own, temperature)  # (V N / world,)
    same = (label[:, None] == distributed.gather(label)).to(queries.dtype)  # (N / world, N)
    others = len(views) * same.sum(1) - 1  # positives of an embedding, without itself
    kin = (same @ torch.stack(every).sum(0)).repeat(len(views), 1) - queries  # their sum
    count = others.clamp(min=1).repeat(len(views))
    attraction = (queries * kin).sum(1) / count / temperature
    return torch.where(others.repeat(len(views)) > 0, total - attraction, 0.0).mean()
