"""Register of formulas, and the batches that they are evaluated on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

N = 6
Two = tuple[Tensor, Tensor]
FORMULAS: dict[str, Callable[[], Two]] = {}


def formula(page: str) -> Callable[[Callable[[], Two]], Callable[[], Two]]:
    """Register what gives a method's loss and its page's formula; variants share the page."""

    def register(pair: Callable[[], Two]) -> Callable[[], Two]:
        FORMULAS[f"{page}:{pair.__name__.lstrip('_')}"] = pair
        return pair

    return register


def images(n: int = N) -> dict[str, Any]:
    drawn = torch.randint(0, 256, (n, 1, 8, 8)).double() / 255
    return {"image": drawn, "label": torch.arange(n) % 3, "index": torch.arange(n)}


def step(method: Any, batch: dict[str, Any]) -> Tensor:
    torch.manual_seed(5)
    loss: Tensor = method.training_step(batch, 0)["loss"]
    return loss


def unit(x: Tensor) -> Tensor:
    return x / x.square().sum(1, keepdim=True).sqrt()
