"""Error of predicted masked places, and the share of their baseline that it explains."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from genlab import losses


class MaskedError(Metric):
    """Mean error over the masked places of a split, of all ranks, whatever their batches.

    ``compute`` gives ``loss`` and ``explained``; see `losses.masked_sums`.
    """

    full_state_update = False
    error: Tensor
    baseline: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("error", "baseline", "count"):
            self.add_state(name, default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, error: Tensor, baseline: Tensor, count: Tensor) -> None:
        """Add the sums of a batch: scalars."""
        self.error = self.error + error.detach()
        self.baseline = self.baseline + baseline.detach()
        self.count = self.count + count

    def compute(self) -> dict[str, Tensor]:
        """``loss`` and ``explained``."""
        loss = self.error / self.count.clamp(min=1)
        explained = losses.explained({"error": self.error, "baseline": self.baseline})
        return {"loss": loss.float(), "explained": explained.float()}
