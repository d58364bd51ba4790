"""Programs for the comparison of one process with two (see tests/conftest.py)."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from genlab import distributed
from genlab.losses.perceptual import adaptive_weight
from genlab.methods.vqgan import VQGAN


class _Step(torch.nn.Module):
    """DDP wraps forward: here, the training step."""

    def __init__(self, method: VQGAN) -> None:
        super().__init__()
        self.method = method

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        return self.method.training_step({"image": image}, 0)


def three_steps(rank: int, world: int) -> dict[str, Any]:
    """Losses, adaptive weights and all weights after three steps."""
    torch.manual_seed(1)
    method = VQGAN(
        1, 8, 16, 4, hidden=16, downsamplings=1, restart_below=0.0, perceptual="small_cnn",
        critic_kwargs={"width": 8},
    )  # fmt: skip
    step: torch.nn.Module = _Step(method)
    if world > 1:
        step = DistributedDataParallel(step)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], 1e-3)
    data = torch.rand(3, 8, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    losses, weights = [], []
    for i, images in enumerate(data):
        torch.manual_seed(100 * i + rank)
        found = step(images[rank::world])
        found["loss"].backward()
        losses.append(found["loss"].detach())
        weights.append(found["critic_weight"].detach())
        optimizer.step()
        optimizer.zero_grad()
        method.quantizer.update()
    total = distributed.all_reduce_sum(torch.stack(losses)) / world
    return {"loss": total, "weight": torch.stack(weights).log(), "state": dict(method.state_dict())}


def ratio(rank: int, world: int) -> dict[str, Any]:
    """The adaptive weight of eight rows: a ratio of norms of means."""
    rows = torch.randn(8, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    last = torch.ones(5, 2, dtype=torch.float64, requires_grad=True)

    def weight(part: torch.Tensor) -> torch.Tensor:
        shown = part @ last
        return adaptive_weight(shown.square().sum(1).mean(), shown.sin().mean(), last)

    whole = weight(rows[rank::world])
    if world == 1:
        halves = [float(weight(half)) for half in (rows[0::2], rows[1::2])]
        assert min(abs(half - float(whole)) for half in halves) > 0.01  # no mean of the halves'
    return {"weight": whole}
