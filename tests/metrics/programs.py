"""Programs that tests run on one process and on two."""

from __future__ import annotations

import torch

from genlab.metrics import ActiveUnits


def active_units(rank: int, world: int) -> torch.Tensor:
    """The first half is constant in latent 0, the second too, at another value."""
    rows = torch.cat([torch.zeros(6, 2), torch.ones(4, 2)])
    rows[:, 1] = 3.0
    metric = ActiveUnits(2)
    metric.update(rows[:6] if rank == 0 else rows[6:])
    if world == 1:
        metric.update(rows[6:])
    return metric.compute()
