"""A small flow matching, and a program that runs on one process and on two."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.methods.flow_matching import FlowMatching

TINY: dict[str, Any] = {
    "channels": 1, "image_size": 8, "num_classes": 3, "levels": 17, "network": "mlp",
    "network_kwargs": {"hidden_dims": [16], "condition_dim": 8},
    "solver_steps": 4, "likelihood_steps": 4,
}  # fmt: skip


def tiny(**options: Any) -> FlowMatching:
    torch.manual_seed(1)
    return FlowMatching(**TINY | options)


def paired(rank: int, world: int, conditional: bool) -> dict[str, Tensor]:
    """Noise of a global batch of 12, paired by the processes that share it."""
    torch.manual_seed(2)
    noise, data = torch.randn(12, 1, 8, 8), torch.randn(12, 1, 8, 8)
    label = torch.arange(12) % 3 if conditional else None
    rows = torch.arange(rank, 12, world)
    method = tiny(pairing="transport", conditional=conditional)
    mine = method.pair(noise[rows], data[rows], None if label is None else label[rows])
    return {str(int(row)): one for row, one in zip(rows, mine, strict=True)}
