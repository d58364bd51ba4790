"""Random numbers of training that depend on where the run is, not on how it got there."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch

from genlab.data.loader import batch_seed, default_seed


class Reseed(L.Callback):
    """Reseeds torch before every training batch from (seed, epoch, batch index, rank).

    A checkpoint holds no generator state, so reparametrisation noise, dropout and the like would
    differ after a resume; reseeded, a resumed run draws what the straight run drew. Validation
    draws from its own seed, the same at every epoch, so that its curve carries no sampling noise.
    """

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        shared = batch_seed(default_seed(), trainer.current_epoch, batch_idx)
        torch.manual_seed(batch_seed(shared, trainer.global_rank, 0))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        torch.manual_seed(batch_seed(default_seed(), -1, trainer.global_rank))

    on_test_start = on_validation_start
    on_predict_start = on_validation_start
