"""Programs that run on one process and on two ranks."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from genlab import distributed, losses
from tests.losses.golden_embeddings import x


def swapped(rank: int, world: int) -> Any:
    """SwAV's loss of both views x @ w, every other row a rank; mean loss, DDP's mean gradient."""
    w = (1.1 * torch.eye(16, dtype=torch.float64)).requires_grad_()
    prototypes = F.normalize(x(2, 6, 16), dim=1)
    scores = [losses.prototype_scores(x(s, 16, 16)[rank::world] @ w, prototypes) for s in (0, 1)]
    codes = {i: losses.sinkhorn(s.detach()) for i, s in enumerate(scores)}
    loss = losses.swapped_prediction(scores, codes)
    loss.backward()
    assert w.grad is not None
    mean = distributed.all_reduce_sum(loss.detach()) / world
    return {"loss": mean, "grad": distributed.all_reduce_sum(w.grad) / world}
