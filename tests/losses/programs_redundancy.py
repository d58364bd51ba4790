"""Programs that run on one process and on two ranks."""

from __future__ import annotations

from typing import Any

import torch

from genlab import distributed, losses
from tests.losses.golden_embeddings import x


def correlated(rank: int, world: int) -> Any:
    """Barlow Twins' loss of x @ w, every other row a rank; mean loss and DDP's mean gradient."""
    w = (1.1 * torch.eye(16, dtype=torch.float64)).requires_grad_()
    a, b = (x(s, 16, 16)[rank::world] @ w for s in (0, 1))
    loss = losses.redundancy_reduction(a, b, 0.0051)
    loss.backward()
    assert w.grad is not None
    mean = distributed.all_reduce_sum(loss.detach()) / world
    return {"loss": mean, "grad": distributed.all_reduce_sum(w.grad) / world}
