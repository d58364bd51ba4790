"""Contrastive losses: identification of an embedding's partner among all others.

Embeddings are normalised here. Everything is computed in float32 (or float64) under any autocast:
at temperature 0.07 the exponents overflow half precision.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from genlab import distributed

BLOCK = 256  # rows of similarities that exist at a time
FULL = 4096  # up to so many rows all similarities are kept: faster, and autograd does the rest


def nt_xent(z1: Tensor, z2: Tensor, temperature: float = 0.5) -> Tensor:
    """Normalised temperature-scaled cross entropy over the global batch.

    Each of the 2N embeddings looks for its partner among the 2N - 1 others, those of all ranks
    included, with gradient through the gather: the mean of this loss over the ranks, and of its
    gradient, is the loss and the gradient of one process with the whole batch.

    Args:
        z1: embeddings of the first views, (N / world, D).
        z2: embeddings of the second views, (N / world, D).
        temperature: tau; divides the cosine similarities.

    Returns:
        Scalar, nats: mean over this rank's 2N / world embeddings.

    Raises:
        ValueError: shapes that differ, or a temperature that is not positive.

    Source: Chen et al. 2020, arXiv:2002.05709, equation 1; google-research/simclr.
    Departure: above 4096 rows the similarities are computed in blocks of rows and again in the
    backward pass, so that memory grows with N and not with its square; same values.
    """
    check(z1, z2, temperature)
    with _full_precision(z1):
        a, b = normalise(z1), normalise(z2)
        queries = torch.cat([a, b])
        attraction = torch.einsum("nd,nd->n", queries, torch.cat([b, a])) / temperature
        if distributed.world_size() == 1 and _Among.suits(queries, temperature):
            return (_Among.apply(queries, temperature) - attraction).mean()
        every1, every2 = distributed.gather(a), distributed.gather(b)
        keys = torch.cat([every1, every2])  # (2N, D)
        first = distributed.rank() * len(a)
        at = torch.arange(first, first + len(a), device=a.device)
        own = torch.cat([at, at + len(every1)])  # where this rank's rows lie among the keys
        return (log_sum_exp(queries, keys, own, temperature) - attraction).mean()


def info_nce(query: Tensor, key: Tensor, negatives: Tensor, temperature: float = 0.07) -> Tensor:
    """Each query looks for its key among that key and a queue of others.

    Args:
        query: (B, D), with gradient.
        key: (B, D), its partners, used as constants.
        negatives: (K, D), normalised, used as constants.
        temperature: tau.

    Returns:
        Scalar, nats: mean over the batch.

    Raises:
        ValueError: see `nt_xent`.

    Source: He et al. 2020, arXiv:1911.05722, algorithm 1.
    """
    check(query, key, temperature)
    with _full_precision(query):
        q, k = normalise(query), normalise(key).detach()
        positive = torch.einsum("nd,nd->n", q, k)[:, None]  # (B, 1)
        logits = torch.cat([positive, q @ negatives.detach().to(q.dtype).T], 1) / temperature
        return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long, device=q.device))


def info_nce_in_batch(query: Tensor, key: Tensor, temperature: float = 0.2) -> Tensor:
    """Each query looks for its key among the keys of the global batch, times 2 tau.

    Args:
        query: predictions, (N / world, D), with gradient.
        key: embeddings of the momentum encoder, (N / world, D), used as constants.
        temperature: tau.

    Returns:
        Scalar: mean over this rank's queries of 2 tau times the cross entropy in nats.

    Raises:
        ValueError: see `nt_xent`.

    Source: Chen, Xie, He 2021, arXiv:2104.02057, algorithm 1; facebookresearch/moco-v3.
    """
    check(query, key, temperature)
    with _full_precision(query):
        q, k = normalise(query), normalise(key).detach()
        logits = q @ distributed.gather(k).T / temperature  # (N / world, N)
        first = distributed.rank() * len(q)
        label = torch.arange(first, first + len(q), device=q.device)
        return 2 * temperature * F.cross_entropy(logits, label)


def batch_nce(query: Tensor, key: Tensor, temperature: float = 0.1) -> Tensor:
    """Each query looks for its key among the keys of the global batch, which have a gradient.

    Args:
        query: (N / world, D).
        key: its partners, (N / world, D); with gradient, that of the queries of all ranks.
        temperature: tau.

    Returns:
        Scalar, nats: mean over this rank's queries.

    Raises:
        ValueError: see `nt_xent`.

    Sources: He et al. 2020, arXiv:1911.05722, section 3.3, end to end; with nearest neighbours as
    queries Dwibedi et al. 2021, arXiv:2104.14548, equation 4.
    """
    check(query, key, temperature)
    with _full_precision(query):
        q, every = normalise(query), distributed.gather(normalise(key))
        first = distributed.rank() * len(q)
        label = torch.arange(first, first + len(q), device=q.device)
        return F.cross_entropy(q @ every.T / temperature, label)


def instance_nll(z: Tensor, bank: Tensor, place: Tensor, temperature: float = 0.1) -> Tensor:
    """Each embedding looks for its own image's row among those of all images.

    Args:
        z: embeddings, (B, D), with gradient.
        bank: unit vectors of n images, used as constants, (n, D).
        place: row of each embedding's image, (B,).
        temperature: tau.

    Returns:
        Scalar, nats: mean over the batch.

    Source: Wu et al. 2018, arXiv:1805.01978, equation 2.
    """
    with _full_precision(z):
        unit = normalise(z)
        return F.cross_entropy(unit @ bank.detach().to(unit.dtype).T / temperature, place)


def log_sum_exp(queries: Tensor, keys: Tensor, own: Tensor, temperature: float) -> Tensor:
    """Log of the sum over all keys but its own of exp(q k / tau), for each query.

    Args:
        queries: (M, D).
        keys: (K, D).
        own: (M,) position of each query among the keys.
        temperature: tau.

    Returns:
        (M,) float.
    """
    if max(len(queries), len(keys)) > FULL:
        found: Tensor = _BlockLogSumExp.apply(queries, keys, own, temperature)
        return found
    return _similarities(queries, keys, own, temperature).logsumexp(1)


def _similarities(queries: Tensor, keys: Tensor, own: Tensor, temperature: float) -> Tensor:
    """(M, K), -inf where a query meets itself."""
    logits = (queries / temperature) @ keys.T
    return logits.scatter_(1, own[:, None], float("-inf"))


def _block_by_block(queries: Tensor, keys: Tensor, own: Tensor, temperature: float) -> Tensor:
    """`log_sum_exp` without a gradient, in the memory of a block."""
    total = []
    for some, at in zip(queries.split(BLOCK), own.split(BLOCK), strict=True):
        logits = _similarities(some, keys, at, temperature)
        most = logits.amax(1, keepdim=True)
        total.append(logits.sub_(most).exp_().sum(1).log_().add_(most[:, 0]))
    return torch.cat(total)


class _Among(torch.autograd.Function):
    """`log_sum_exp` of vectors among themselves: similarities are symmetric, a product is saved.

    The gradient by z_k is sum_j (g_k p_kj + g_j p_jk) z_j / tau, where p_jk is p_kj times
    exp(total_k - total_j); that factor stays in float32's range above `LEAST` only.
    """

    LEAST = 0.05  # temperature

    @staticmethod
    def suits(z: Tensor, temperature: float) -> bool:
        """True if this form is faster and exact."""
        return len(z) > FULL and temperature >= _Among.LEAST

    @staticmethod
    def forward(ctx: Any, z: Tensor, temperature: float) -> Tensor:
        total = _block_by_block(z, z, torch.arange(len(z), device=z.device), temperature)
        ctx.save_for_backward(z, total)
        ctx.temperature = temperature
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (z, total), (grad,) = ctx.saved_tensors, grads
        own, middle = torch.arange(len(z), device=z.device), total.mean()
        up, down = (total - middle).exp(), grad * (middle - total).exp()
        out = torch.empty_like(z)
        for start in range(0, len(z), BLOCK):
            span = slice(start, start + BLOCK)
            with _full_precision(z):
                share = _similarities(z[span], z, own[span], ctx.temperature)
                share.sub_(total[span, None]).exp_()
                share.mul_(torch.addcmul(grad[span, None], up[span, None], down))
                torch.mm(share, z, out=out[span])
        return out / ctx.temperature, None


class _BlockLogSumExp(torch.autograd.Function):
    """`log_sum_exp` a block of rows at a time, the softmax computed again for the gradient."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, keys: Tensor, own: Tensor, temperature: float) -> Tensor:
        total = _block_by_block(queries, keys, own, temperature)
        ctx.save_for_backward(queries, keys, own, total)
        ctx.temperature = temperature
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        queries, keys, own, total = ctx.saved_tensors
        to_queries, to_keys = torch.empty_like(queries), torch.zeros_like(keys)
        for start in range(0, len(queries), BLOCK):
            span = slice(start, start + BLOCK)
            with _full_precision(keys):
                share = _similarities(queries[span], keys, own[span], ctx.temperature)
                share = share.sub_(total[span, None]).exp_().mul_(grads[0][span, None])
                to_queries[span] = share @ keys
                to_keys.addmm_(share.T, queries[span])
        return to_queries / ctx.temperature, to_keys / ctx.temperature, None, None


def normalise(z: Tensor) -> Tensor:
    """Unit length, in float32 at least: (N, D) -> (N, D)."""
    return F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=1)


def check(z1: Tensor, z2: Tensor, temperature: float) -> None:
    """Refuse embeddings that do not pair up, and temperatures that are not positive.

    Raises:
        ValueError: one of the two.
    """
    if z1.shape != z2.shape or z1.ndim != 2:
        raise ValueError(f"embeddings must be two (N, D), got {(*z1.shape,)} and {(*z2.shape,)}")
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} must be above 0")


def _full_precision(z: Tensor) -> torch.autocast:
    return torch.autocast(z.device.type, enabled=False)
