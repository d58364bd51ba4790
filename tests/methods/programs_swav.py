"""SwAV at small size, and programs that run on one process and on two."""

from __future__ import annotations

from typing import Any

import torch

from genlab.methods.swav import SwAV
from tests.methods.programs_ssl import CNN, VIT, three_steps


def small(network: dict[str, Any] = CNN, **options: Any) -> SwAV:
    """A method with few weights, always the same ones."""
    torch.manual_seed(1)
    return SwAV(**network | {"projector_dims": [12, 6], "prototypes": 5} | options)


def queued(rank: int, world: int) -> Any:
    """Three steps without batch norm, with a queue that is full after two."""
    return three_steps(small(VIT, projector_norm=None, queue_size=13), rank, world)
