"""All uses of ``torch.distributed``: rank and world size, reductions, and gathers with gradient."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from genlab.internals import torch_parts


def active() -> bool:
    """True inside an initialised process group of more than one process."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def rank() -> int:
    """This process's number, 0 without a process group."""
    return dist.get_rank() if active() else 0


def world_size() -> int:
    """The number of processes that train together, 1 without a process group."""
    return dist.get_world_size() if active() else 1


def join(rendezvous: str, rank: int, world: int, backend: str = "gloo") -> None:
    """Become process ``rank`` of ``world`` on one machine, for the Trainer too.

    Args:
        rendezvous: path of a file that is not there yet, the same for all.
        rank: this process's number.
        world: number of processes; with 1 there is no process group.
        backend: ``gloo``, or ``nccl``, by which the process takes the GPU of its number.
    """
    if world == 1:
        return
    if backend == "nccl":
        torch.cuda.set_device(rank)
    meeting = f"file://{rendezvous}"
    dist.init_process_group(backend, init_method=meeting, rank=rank, world_size=world)
    os.environ |= {"LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "NODE_RANK": "0"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}


def leave() -> None:
    """Out of the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def device() -> torch.device:
    """The device of tensors that all processes reduce or gather."""
    if active() and dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


@contextmanager
def pretended(world: int, rank: int = 0) -> Iterator[None]:
    """Be one of ``world`` processes, whose messages arrive at once and say nothing."""
    if world == 1:
        yield
        return
    store, hook = torch_parts.fake_store(), sys.excepthook  # a group puts its rank before errors
    dist.init_process_group("fake", rank=rank, world_size=world, store=store)
    try:
        yield
    finally:
        dist.destroy_process_group()
        sys.excepthook = hook


def all_reduce_sum(x: Tensor) -> Tensor:
    """The sum of ``x`` over ranks, a new tensor; no gradient. Any shape, equal on all ranks."""
    if not active():
        return x
    total = x.detach().clone()
    dist.all_reduce(total)
    return total


def all_reduce_max(x: Tensor) -> Tensor:
    """The elementwise maximum of ``x`` over ranks, a new tensor; no gradient. Any shape."""
    if not active():
        return x
    most = x.detach().clone()
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return most


def broadcast(x: Tensor, source: int = 0) -> Tensor:
    """Rank ``source``'s ``x`` on every rank, a new tensor; no gradient."""
    if not active():
        return x
    copy = x.detach().clone()
    dist.broadcast(copy, source)
    return copy


def gather(x: Tensor) -> Tensor:
    """Every rank's rows, rank zero's first, with gradient: (N / world, ...) -> (N, ...).

    The gradient of a row is the sum of its gradients from all ranks' losses. Where each rank's loss
    is a mean over its own rows, DDP's mean of gradients is then that of the mean loss.

    Raises:
        ValueError: ranks with different numbers of rows (checked on the CPU; on an accelerator the
            check would halt it at every step, and genlab's loaders deal equal shares).
    """
    if not active():
        return x
    if torch_parts.on_host(x):
        counts = [torch.zeros(1, dtype=torch.long) for _ in range(world_size())]
        dist.all_gather(counts, torch.tensor([len(x)]))
        if len(set(map(int, counts))) > 1:
            found = ", ".join(str(int(n)) for n in counts)
            raise ValueError(f"ranks must have equally many rows to be gathered, got {found}")
    rows: Tensor = _Gather.apply(x)
    return rows


def all_reduce(x: Tensor) -> Tensor:
    """The sum of ``x`` over ranks, with gradient. Any shape, equal on all ranks.

    The gradient is the sum of what all ranks' losses say about the sum. Where every rank has the
    same loss of it, DDP's mean of gradients is then that of one process.
    """
    if not active():
        return x
    total: Tensor = _AllReduce.apply(x)
    return total


class _AllReduce(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return all_reduce_sum(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return all_reduce_sum(grads[0])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(world_size())[rank()]


def interleave(rows: Tensor) -> Tensor:
    """Gathered rows, rank zero's first, in the order in which the loader dealt them: (N, ...).

    The loader deals image i to rank i modulo world, so that one process has them in this order.
    """
    return rows.unflatten(0, (world_size(), -1)).transpose(0, 1).flatten(0, 1)


def gather_rows(x: Tensor) -> Tensor:
    """The rows of all ranks, rank by rank; no gradient.

    Args:
        x: (n, ...); n may differ between ranks and be 0; the other sizes are equal.
    """
    if not active():
        return x
    counts = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(world_size())]
    dist.all_gather(counts, torch.tensor([len(x)], device=x.device))
    most = max(int(n) for n in counts)
    padded = x.new_zeros(most, *x.shape[1:])
    padded[: len(x)] = x.detach()
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(n)] for part, n in zip(parts, counts, strict=True)])


def gather_objects(x: Any) -> list[Any]:
    """Every rank's object, rank zero's first; plain values and tensors on the CPU."""
    if not active():
        return [x]
    found: list[Any] = [None] * world_size()
    dist.all_gather_object(found, x)
    return found


def tell(key: str, text: str) -> None:
    """Write a text where all processes of the group can read it, whatever the others do.

    Raises:
        RuntimeError: the process that keeps such texts is gone, rank zero as a rule.
        ValueError: no process group.
    """
    torch_parts.group_store().set(f"genlab/{key}", text)


def told(key: str) -> str | None:
    """The text that a process has told under this key, None as long as none has.

    Raises:
        RuntimeError: as `tell`.
        ValueError: no process group.
    """
    store = torch_parts.group_store()
    return store.get(f"genlab/{key}").decode() if store.check([f"genlab/{key}"]) else None
