"""Programs that run on one process and on two ranks."""

from __future__ import annotations

from typing import Any

import torch

from genlab import distributed, losses
from tests.losses.golden_embeddings import x


def distilled(rank: int, world: int) -> Any:
    """DINO's loss of x @ w, every other row a rank, and its centre after the step."""
    w = (1.1 * torch.eye(16, dtype=torch.float64)).requires_grad_()
    scores = [x(k, 16, 16)[rank::world] @ w for k in range(3)]
    taught = [x(5 + i, 16, 16)[rank::world] for i in range(2)]
    centre = x(9, 1, 16)[0]
    targets = {i: losses.centred_target(one, centre, 0.04) for i, one in enumerate(taught)}
    loss = losses.swapped_prediction(scores, targets, 0.1)
    loss.backward()
    assert w.grad is not None
    mean = distributed.all_reduce_sum(loss.detach()) / world
    after = losses.moved_centre(centre, losses.score_total(torch.cat(taught))[None], 0.9)
    return {"loss": mean, "grad": distributed.all_reduce_sum(w.grad) / world, "centre": after}


def spread(rank: int, world: int) -> Any:
    """KoLeo of x @ w, every other row a rank; mean loss and DDP's mean gradient."""
    w = (1.1 * torch.eye(16, dtype=torch.float64)).requires_grad_()
    loss = losses.koleo(x(0, 16, 16)[rank::world] @ w)
    loss.backward()
    assert w.grad is not None
    mean = distributed.all_reduce_sum(loss.detach()) / world
    return {"loss": mean, "grad": distributed.all_reduce_sum(w.grad) / world}
