"""Programs that tests run on one process and on two."""

from __future__ import annotations

import torch

from genlab.distributed import all_reduce_sum
from genlab.losses import free_bits


def free_bits_gradient(rank: int, world: int) -> dict[str, torch.Tensor]:
    """Value and gradient with respect to weights shared by all ranks, averaged as DDP does."""
    rows = torch.tensor([[0.1, 2.0, 0.1], [0.3, 4.0, 0.1], [0.9, 0.1, 0.2], [1.1, 0.1, 0.2]])
    weights = torch.ones(3, requires_grad=True)
    loss = free_bits(rows.chunk(world)[rank] * weights, 0.5)
    loss.backward()
    assert weights.grad is not None
    return {
        "loss": all_reduce_sum(loss.detach()) / world,
        "gradient": all_reduce_sum(weights.grad) / world,
    }
