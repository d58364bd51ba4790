"""Accuracy of the live weights, in addition to that of their running average."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab import distributed
from genlab.callbacks.ema_weights import EMAWeights
from genlab.contracts import Classifies
from genlab.networks.functional import logits_with


class LiveAccuracy(L.Callback):
    """``val/accuracy_live``, for a classifier with `EMAWeights`, whose average gives the others.

    Both use the same batch norm statistics, those of training. Costs a second pass over the
    validation images; ignored for methods without ``logits`` or without an average.

    Logs:
        val/accuracy_live (fraction, higher): accuracy of the live weights, next to val/accuracy of
            their average.
    """

    def __init__(self) -> None:
        self._right: list[Tensor] = []
        self._known: list[Tensor] = []

    @torch.no_grad()
    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        averages = [c for c in _callbacks(trainer) if isinstance(c, EMAWeights)]
        if not averages or not averages[0].live or not isinstance(pl_module, Classifies):
            return
        with trainer.precision_plugin.val_step_context():
            logits = logits_with(pl_module, averages[0].live, batch["image"])
        label = batch["label"]
        self._right.append((logits.argmax(1) == label).sum())
        self._known.append((label >= 0).sum())

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._right:
            counts = torch.stack([torch.stack(self._right).sum(), torch.stack(self._known).sum()])
            right, known = distributed.all_reduce_sum(counts)
            pl_module.log("val/accuracy_live", right / known, sync_dist=True)
        self._right, self._known = [], []


def _callbacks(trainer: Any) -> list[L.Callback]:
    return list(trainer.callbacks)
