"""Programs that run on one process and on two ranks."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from genlab import distributed, losses
from tests.losses.golden_embeddings import x


def correlated(rank: int, world: int) -> Any:
    """Barlow Twins' loss of x @ w, every other row a rank; mean loss and DDP's mean gradient."""
    return _mean(lambda a, b: losses.redundancy_reduction(a, b, 0.0051), rank, world)


def plainly_reduced(rank: int, world: int) -> Any:
    """Gradients of Barlow Twins' loss with two equal halves, and what torch says of each.

    Ours, and the reference's, which reduces the correlation by a plain all-reduce.
    """
    found: dict[str, Any] = {}
    for name in ("ours", "plain"):
        w = (1.1 * torch.eye(16, dtype=torch.float64)).requires_grad_()
        a, b = (x(s, 8, 16) @ w for s in (0, 1))
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            if name == "ours":
                loss = losses.redundancy_reduction(a, b, 0.0051)
            else:
                c = _standard(a).T @ _standard(b) / (8 * world)
                if world > 1:
                    torch.distributed.all_reduce(c)
                off = c.square().sum() - c.diagonal().square().sum()
                loss = (1 - c.diagonal()).square().sum() + 0.0051 * off
            loss.backward()
        assert w.grad is not None
        found[f"{name}_loss"] = loss.detach()
        found[name] = distributed.all_reduce_sum(w.grad) / world
        found[f"{name}_said"] = [str(one.message) for one in said]
    return found


def _standard(z: Tensor) -> Tensor:
    return (z - z.mean(0)) / (z.var(0, correction=0) + 1e-5).sqrt()


def varied(rank: int, world: int) -> Any:
    """The same of VICReg's."""

    def loss(a: Tensor, b: Tensor) -> Tensor:
        variance, invariance, covariance = losses.variance_invariance_covariance(a, b)
        return 25 * variance + 25 * invariance + covariance

    return _mean(loss, rank, world)


def isotropic(rank: int, world: int) -> Any:
    """The same of SIGReg's, of one view."""
    u = x(7, 16, 4)
    return _mean(lambda a, _: losses.sigreg(a, u / u.norm(dim=0)), rank, world)


def supervised(rank: int, world: int) -> Any:
    """The same of SupCon's, with labels."""
    label = torch.arange(16)[rank::world] % 5 // 2
    return _mean(lambda a, b: losses.supervised_contrastive([a, b], label), rank, world)


def _mean(objective: Callable[[Tensor, Tensor], Tensor], rank: int, world: int) -> Any:
    w = (1.1 * torch.eye(16, dtype=torch.float64)).requires_grad_()
    a, b = (x(s, 16, 16)[rank::world] @ w for s in (0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch only warns of a collective without gradient
        loss = objective(a, b)
        loss.backward()
    assert w.grad is not None
    mean = distributed.all_reduce_sum(loss.detach()) / world
    return {"loss": mean, "grad": distributed.all_reduce_sum(w.grad) / world}
