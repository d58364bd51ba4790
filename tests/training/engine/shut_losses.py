"""Methods whose loss has a term without gradient: what is not finite in it no gradient shows."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn


class Plain(L.LightningModule):
    """One weight; the largest pixel, squared, is a part of its loss."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))

    def of_first(self, batch: Any) -> Tensor:
        return self.first.square().sum() + batch["image"].amax().square()

    def of_second(self) -> Tensor:
        return self.second.square().sum()

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        return {"loss": self.of_first(batch) + self.of_second()}

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 0.1)


class Pair(Plain):
    """Two weights with an optimiser each; both gradients are computed before either step.

    Args:
        every: number of batches for each step of the first.
        both: False if the first steps as seldom as the second.
    """

    def __init__(self, every: int = 1, both: bool = True) -> None:
        super().__init__()
        self.every, self.both = every, both
        self.automatic_optimization = False

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        first, second = self.optimizers()  # type: ignore[attr-defined]
        loss = self.of_first(batch)
        self.manual_backward(loss)
        self.manual_backward(self.of_second())
        due = (batch_idx + 1) % self.every == 0
        for optimizer, steps in ((second, due or self.both), (first, due)):
            if steps:
                optimizer.step()
                optimizer.zero_grad()
        return {"loss": loss.detach()}

    def configure_optimizers(self) -> Any:
        return [torch.optim.SGD([self.first], 0.1), torch.optim.Adam([self.second], 0.1)]
