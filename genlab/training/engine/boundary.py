"""Moments of a training between two optimiser steps, at which its state can be continued."""

from __future__ import annotations

from typing import Any

import lightning as L

from genlab.training.engine.checkpointing import training_ends, validation_follows


class AtBoundary(L.Callback):
    """Calls `on_step` behind every optimiser step, then `at_boundary` where its state is whole.

    The second call comes after the validation that follows a step where there is one, and after
    the hooks of an epoch's end; behind the last step of the training it does not come. Of a
    validation `Checkpoints` must tell, when the state has the selected step.
    """

    def __init__(self) -> None:
        self._step = -1
        self._waits = False

    def on_step(self, trainer: L.Trainer, step: int) -> None:
        """Act behind a step, before a validation."""

    def at_boundary(self, trainer: L.Trainer, step: int) -> None:
        """Act where a checkpoint of this step can be written."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step, self._waits = trainer.global_step, False

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        step = trainer.global_step
        if step == self._step:
            return  # inside an accumulation window
        self._step = step
        self.on_step(trainer, step)
        self._waits = not training_ends(trainer, step)
        if not trainer.is_last_batch and not validation_follows(trainer, batch_idx):
            self._call(trainer)

    def after_selection(self, trainer: L.Trainer) -> None:
        """Act behind a validation that may have selected a checkpoint; called by `Checkpoints`."""
        self._call(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._call(trainer)

    def _call(self, trainer: L.Trainer) -> None:
        if self._waits:
            self._waits = False
            self.at_boundary(trainer, self._step)
