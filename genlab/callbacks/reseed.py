"""Random numbers of training that depend on where the run is, not on how it got there."""

from __future__ import annotations

import os
from typing import Any

import lightning as L
import torch


def global_seed() -> int:
    """The run's ``seed_everything``, 0 when none was set."""
    return int(os.environ.get("PL_GLOBAL_SEED", "0"))


def mix(*numbers: int) -> int:
    """A 63-bit seed from a few integers (splitmix64's finaliser; equal tuples, equal seeds)."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ (number & 0xFFFFFFFFFFFFFFFF)) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1


class Reseed(L.Callback):
    """Reseeds torch before every training batch from (seed, epoch, batch index, rank).

    A checkpoint holds no generator state, so reparametrisation noise, dropout and the like would
    differ after a resume; reseeded, a resumed run draws what the straight run drew. Validation
    draws from its own seed, the same at every epoch, so that its curve carries no sampling noise.
    """

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        torch.manual_seed(mix(global_seed(), trainer.current_epoch, batch_idx, trainer.global_rank))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        torch.manual_seed(mix(global_seed(), -1, trainer.global_rank))

    on_test_start = on_validation_start
    on_predict_start = on_validation_start
