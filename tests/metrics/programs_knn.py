"""Programs that tests run on one process and on two."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab import distributed
from genlab.metrics import KNN, merge


def gather(rank: int, world: int) -> Tensor:
    """Rows 0 to 6; of two ranks the second has two of them."""
    rows = torch.arange(14.0).view(7, 2)
    return distributed.gather_rows(rows if world == 1 else rows.split(5)[rank])


def gather_none(rank: int, world: int) -> Tensor:
    """The second rank has no row."""
    rows = torch.arange(3)
    return distributed.gather_rows(rows if rank == 0 else rows[:0])


def knn(rank: int, world: int) -> dict[str, Tensor]:
    """Bank of 301 and 97 queries, both odd; a sampler that pads repeats the first ones."""
    x, label = torch.randn(398, 6), torch.arange(398) % 7
    x[:, 0] += label
    x[40:60] = x[20:40]  # equal features under different labels: ties
    rows = torch.arange(398)
    bank, queries = (_share(part, rank, world) for part in (rows[:301], rows[301:]))
    metric = KNN(7, k=9)
    metric.set_bank(merge(x[bank], label[bank], bank))
    for part in queries.split(10):
        metric.update(x[part], label[part], part)
    return metric.compute()


def _share(rows: Tensor, rank: int, world: int) -> Tensor:
    """As torch's `DistributedSampler` deals: equally many each, some twice."""
    padded = torch.cat([rows, rows[: -len(rows) % world]])
    return padded[rank::world]
