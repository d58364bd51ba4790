"""Error of one-shot classification during training."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab.contracts import HasEpisodes, data_of
from genlab.metrics import merge, one_shot_error


class OneShot(L.Callback):
    """``val/one_shot_error`` at every validation: made-up one-shot trials of validation images.

    For methods whose ``validation_step`` returns a ``feature`` (B, F), and data with trials, such
    as `Omniglot`. Without alphabets to validate there is no metric.

    Logs:
        val/one_shot_error (fraction, lower): share of images in made-up trials whose class is not
            that of the most similar feature (cosine) among one of each of the trial's classes; mean
            over trials.
    """

    def __init__(self) -> None:
        self._seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._seen = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if isinstance(outputs, dict) and "feature" in outputs:
            feature = outputs["feature"].flatten(1).float()
            self._seen.append((feature, batch["label"], batch["index"]))

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data = data_of(trainer)
        trials = data.episodes("val") if isinstance(data, HasEpisodes) else None
        if not self._seen or trials is None:
            return
        bank = merge(*(torch.cat(part) for part in zip(*self._seen, strict=True)))
        self._seen = []
        error = one_shot_error(trials, bank, bank).mean()
        pl_module.log("val/one_shot_error", error, sync_dist=True)
