"""A queue on one process and on two ranks."""

from __future__ import annotations

from typing import Any

import torch

from genlab.networks.queue import Queue


def three_writes(rank: int, world: int) -> Any:
    """Batches of 4 into 10 places, dealt as the loader deals them."""
    queue = Queue(10, 3)
    for step in range(3):
        keys = torch.arange(12.0).reshape(4, 3) + 100 * step
        queue.enqueue(keys[rank::world])
    return dict(queue.state_dict())
