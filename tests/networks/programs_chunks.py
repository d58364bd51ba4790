"""Batches in chunks on one process and on two ranks."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import GradBucket
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel

from genlab import distributed, losses, networks
from genlab.networks.chunks import in_chunks


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


def _mean(exchanges: list[int], bucket: GradBucket) -> Future[Tensor]:
    exchanges.append(bucket.index())
    done: Future[Tensor] = Future()
    done.set_result(distributed.all_reduce_sum(bucket.buffer()) / distributed.world_size())
    return done
