"""NNCLR at small size, and programs that run on one process and on two."""

from __future__ import annotations

from typing import Any

import torch

from genlab.methods.nnclr import NNCLR
from tests.methods.programs_ssl import CNN, HEADS, VIT, three_steps


def small(network: dict[str, Any] = CNN, **options: Any) -> NNCLR:
    """A method with few weights, always the same ones."""
    torch.manual_seed(1)
    return NNCLR(**network | HEADS | {"queue_size": 20} | options)


def stepped(rank: int, world: int) -> Any:
    """Three steps without batch norm."""
    return three_steps(small(VIT, head_norm=None), rank, world)
