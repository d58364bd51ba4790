"""The negatives' share of a contrastive loss, and the gradient that it gives the query."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab import distributed
from genlab.losses.contrastive import normalise


@torch.no_grad()
def denominator(
    query: Tensor, key: Tensor, others: Tensor, temperature: float, skip: Tensor | None = None
) -> dict[str, Tensor]:
    """Log of the sum over negatives of exp(q n / tau), and the norm of the gradient by the query.

    With p the softmax of an InfoNCE over the key and the negatives, that gradient is
    (sum_n p_n n - (1 - p_key) key) / tau, as of a query of length one: He et al. 2020,
    arXiv:1911.05722, equation 1. The (M, K) similarities are computed again, apart from the loss.

    Args:
        query: (M, D).
        key: partner of each, (M, D).
        others: (K, D) of unit length.
        temperature: tau.
        skip: (M, s) places of itself and its key among the others: not a negative.

    Logs:
        train/denominator (nats): log of the sum over an image's negatives of exp(q.n / tau), mean
            over queries.
        train/query_gradient (1): norm of the gradient of a query's InfoNCE by the query of length
            one, mean over queries.

    Returns:
        ``denominator`` and ``query_gradient``, means over this rank's queries.
    """
    with torch.autocast(query.device.type, enabled=False):
        q, k = normalise(query), normalise(key)
        n = others.to(q.dtype)
        logits = q @ n.T / temperature  # (M, K)
        if skip is not None:
            logits.scatter_(1, skip, float("-inf"))
        positive = (q * k).sum(1, keepdim=True) / temperature
        p = torch.cat([positive, logits], 1).softmax(1)
        gradient = (p[:, 1:] @ n - (1 - p[:, :1]) * k) / temperature  # (M, D)
        return {
            "denominator": logits.logsumexp(1).mean(),
            "query_gradient": gradient.norm(dim=1).mean(),
        }


@torch.no_grad()
def denominator_of_keys(query: Tensor, key: Tensor, temperature: float) -> dict[str, Tensor]:
    """`denominator` where the negatives are the other images' keys of the global batch.

    Args:
        query: (N / world, D).
        key: (N / world, D).
        temperature: tau.
    """
    every = distributed.gather(normalise(key))
    own = distributed.rank() * len(key) + torch.arange(len(key), device=key.device)
    return denominator(query, key, every, temperature, own[:, None])


@torch.no_grad()
def denominator_of_views(z1: Tensor, z2: Tensor, temperature: float) -> dict[str, Tensor]:
    """`denominator` of NT-Xent: both views of all other images of the global batch.

    Args:
        z1: embeddings of the first views, (N / world, D).
        z2: embeddings of the second views, (N / world, D).
        temperature: tau.
    """
    a, b = distributed.gather(normalise(z1)), distributed.gather(normalise(z2))
    own = distributed.rank() * len(z1) + torch.arange(len(z1), device=z1.device)
    pair = torch.stack([own, own + len(a)], 1)  # (N / world, 2)
    found = denominator(
        torch.cat([z1, z2]), torch.cat([z2, z1]), torch.cat([a, b]), temperature, pair.repeat(2, 1)
    )
    return found
