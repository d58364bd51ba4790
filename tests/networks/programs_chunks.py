"""Batches in chunks on one process and on two ranks."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed import GradBucket
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from genlab import distributed, losses, networks
from genlab.networks.chunks import in_chunks
from tests.losses.golden_embeddings import x


class Embedded(nn.Module):
    """A small network without batch norm, in double precision."""

    def __init__(self, chunks: int) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.net, self.chunks = networks.mlp(6, 10, 4, norm="layer").double(), chunks

    def forward(self, x: Tensor) -> Tensor:
        return in_chunks(x, self.net, chunks=self.chunks)


def exchanged(rank: int, world: int) -> Any:
    """Loss and gradient of 24 rows in three chunks, and the number of exchanges of gradients."""
    model, exchanges = Embedded(3), list[int]()
    step: Any = model
    if world > 1:
        step = DistributedDataParallel(model)
        step.register_comm_hook(exchanges, _mean)
    x = torch.randn(24, 6, generator=torch.Generator().manual_seed(2)).double()
    z1, z2 = step(x[rank::world]).chunk(2)
    loss = losses.nt_xent(z1, z2)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    mean = distributed.all_reduce_sum(loss.detach()) / world
    return {"loss": mean, "grad": gradients}, len(exchanges)


def own_graph(rank: int, world: int) -> Any:
    """DDP's mean gradient of InfoNCE of 16 rows: ours, and with a graph of a rank's own rows alone.

    The second is GradCache's ``DistributedContrastiveLoss``: every rank has the loss of all rows.
    """
    rows, found = slice(rank * 16 // world, (rank + 1) * 16 // world), {}
    for name in ("ours", "own"):
        w = (1.1 * torch.eye(16, dtype=torch.float64)).requires_grad_()
        a, b = (x(s, 16, 16)[rows] @ w for s in (0, 1))
        if name == "ours":
            loss = losses.batch_nce(a, b, 0.5)
        else:
            every = [F.normalize(distributed.gather(z.detach()), dim=1) for z in (a, b)]
            for all_rows, z in zip(every, (a, b), strict=True):
                all_rows[rows] = F.normalize(z, dim=1)
            loss = F.cross_entropy(every[0] @ every[1].T / 0.5, torch.arange(16))
        loss.backward()
        assert w.grad is not None
        found[name] = distributed.all_reduce_sum(w.grad) / world
    return found


def _mean(exchanges: list[int], bucket: GradBucket) -> Future[Tensor]:
    exchanges.append(bucket.index())
    done: Future[Tensor] = Future()
    done.set_result(distributed.all_reduce_sum(bucket.buffer()) / distributed.world_size())
    return done
