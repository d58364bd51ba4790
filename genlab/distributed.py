"""Every word that genlab says to ``torch.distributed`` (and nobody else says one)."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def active() -> bool:
    """True inside an initialised process group of more than one process."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """This process's number, 0 without a process group."""
    return dist.get_rank() if active() else 0


def world_size() -> int:
    """How many processes train together, 1 without a process group."""
    return dist.get_world_size() if active() else 1


def all_reduce_sum(x: Tensor) -> Tensor:
    """The sum of ``x`` over ranks, a new tensor; no gradient. Any shape, equal on all ranks."""
    if not active():
        return x
    total = x.detach().clone()
    dist.all_reduce(total)
    return total


def broadcast(x: Tensor, source: int = 0) -> Tensor:
    """Rank ``source``'s ``x`` on every rank, a new tensor; no gradient."""
    if not active():
        return x
    copy = x.detach().clone()
    dist.broadcast(copy, source)
    return copy
