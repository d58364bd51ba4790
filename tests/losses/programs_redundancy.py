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
