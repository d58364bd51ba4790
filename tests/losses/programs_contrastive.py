"""Programs that run on one process and on two ranks."""

from __future__ import annotations

from typing import Any

import torch

from genlab import distributed, losses
from tests.losses.golden_embeddings import x


def gathered(rank: int, world: int) -> Any:
    """NT-Xent of x @ w, half the rows a rank; mean loss and DDP's mean gradient."""
    w = (1.1 * torch.eye(16, dtype=torch.float64)).requires_grad_()
    rows = slice(rank * 8 // world, (rank + 1) * 8 // world)
    loss = losses.nt_xent(x(0, 8, 16)[rows] @ w, x(1, 8, 16)[rows] @ w, 0.5)
    loss.backward()
    assert w.grad is not None
    mean = distributed.all_reduce_sum(loss.detach()) / world
    return {"loss": mean, "grad": distributed.all_reduce_sum(w.grad) / world}


def keys_in_batch(rank: int, world: int) -> Any:
    """The same for MoCo v3's loss."""
    w = (1.1 * torch.eye(16, dtype=torch.float64)).requires_grad_()
    rows = slice(rank * 8 // world, (rank + 1) * 8 // world)
    loss = losses.info_nce_in_batch(x(0, 8, 16)[rows] @ w, x(1, 8, 16)[rows], 0.2)
    loss.backward()
    assert w.grad is not None
    mean = distributed.all_reduce_sum(loss.detach()) / world
    return {"loss": mean, "grad": distributed.all_reduce_sum(w.grad) / world}


def unequal(rank: int, world: int) -> Any:
    """5 rows here, 3 there."""
    n = 8 if world == 1 else (5, 3)[rank]
    try:
        losses.nt_xent(x(0, n, 4), x(1, n, 4))
    except ValueError as error:
        return {"said": "equally many rows" in str(error)}
    return {"said": world == 1}


def batch_keys(rank: int, world: int) -> Any:
    """The same for queries against the batch's keys, which have a gradient too."""
    w = (1.1 * torch.eye(16, dtype=torch.float64)).requires_grad_()
    rows = slice(rank * 8 // world, (rank + 1) * 8 // world)
    loss = losses.batch_nce(x(0, 8, 16)[rows] @ w, x(1, 8, 16)[rows] @ w, 0.2)
    loss.backward()
    assert w.grad is not None
    mean = distributed.all_reduce_sum(loss.detach()) / world
    return {"loss": mean, "grad": distributed.all_reduce_sum(w.grad) / world}
