"""MoCo with a memory bank, and with the batch's keys, on one process and on two."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from genlab import distributed
from tests.methods.programs_ssl import VIT, pairs, small


class _Step(nn.Module):
    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, batch: dict[str, Any]) -> Any:
        return self.method.training_step(batch, 0)["loss"]


def stepped(rank: int, world: int) -> Any:
    """Losses and states after three steps; an image stands in each batch twice."""
    found = {}
    for negatives in ("bank", "batch"):
        method = small("moco", VIT, negatives=negatives).double()
        if negatives == "bank":
            method.bank.fit_to(np.arange(20))
        step: Any = DistributedDataParallel(_Step(method)) if world > 1 else _Step(method)
        optimizer = torch.optim.SGD(method.parameters(), 0.5)
        figures = []
        for batch in pairs(8, 3):
            views = [view[rank::world].double() for view in batch["views"]]
            index = torch.tensor([0, 2, 4, 2, 8, 10, 12, 14])[rank::world]
            optimizer.zero_grad()
            loss = step({"views": views[: 1 + (negatives == "batch")], "index": index})
            loss.backward()
            optimizer.step()
            method.after_step()
            figures.append(distributed.all_reduce_sum(loss.detach()) / world)
        found[negatives] = {"loss": torch.stack(figures), "state": dict(method.state_dict())}
    return found
