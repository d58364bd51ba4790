"""Random numbers of training that depend on the position in the run, not on its history."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch

from genlab.data.loader import batch_seed, default_seed


def seed_generators(seed: int) -> None:
    """Seed torch's generators on the CPU and on the accelerator in use.

    `torch.manual_seed` also queues a call, with a formatted stack, for every kind of device that is
    compiled in but not in use, and the queue grows for as long as the process lives.
    """
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)
    elif torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)


class Reseed(L.Callback):
    """Reseed torch before every training batch from (seed, epoch, batch index, rank).

    A checkpoint contains no generator state, so reparametrisation noise, dropout and the like would
    differ after a resume; reseeded, a resumed run draws what the straight run drew. Validation
    draws from its own seed, the same at every epoch, so that its curve carries no sampling noise.
    """

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        shared = batch_seed(default_seed(), trainer.current_epoch, batch_idx)
        seed_generators(batch_seed(shared, trainer.global_rank, 0))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        seed_generators(batch_seed(default_seed(), -1, trainer.global_rank))

    on_test_start = on_validation_start
    on_predict_start = on_validation_start
