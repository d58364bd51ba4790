"""Length of a training: which of its limits ends it."""

from __future__ import annotations

import math
from collections.abc import Sized

import lightning as L

from genlab.process import note

WAITS = {"freeze_encoder_steps": "encoder waits", "freeze_steps": "prototypes wait"}


def note_early_end(trainer: L.Trainer, loader: object) -> None:
    """Tell the user that ``max_epochs`` ends a training before ``max_steps`` does.

    Args:
        trainer: with both limits.
        loader: batches of an epoch; nothing is told of one without a length.
    """
    epochs, steps = trainer.max_epochs, trainer.max_steps
    each = _steps_an_epoch(trainer, loader)
    if each is None or epochs is None or epochs < 0 or steps < 0:
        return
    if each * epochs < steps:
        note(
            f"trainer.max_epochs={epochs} ends training after {each * epochs:,} steps, {each:,} an "
            f"epoch, before trainer.max_steps={steps}"
        )


def note_waiting(model: L.LightningModule, trainer: L.Trainer, loader: object) -> None:
    """Tell the user that a training ends before a part that is frozen at first begins to learn.

    Args:
        model: method whose attributes in `WAITS` are the optimiser steps in which a part is frozen.
        trainer: with the limits of the training.
        loader: batches of an epoch; one without a length leaves ``max_steps`` alone.
    """
    ends = [trainer.max_steps] if trainer.max_steps >= 0 else []
    each, epochs = _steps_an_epoch(trainer, loader), trainer.max_epochs
    if each is not None and epochs is not None and epochs >= 0:
        ends.append(each * epochs)
    for name, part in WAITS.items():
        waits = getattr(model, name, 0)
        if waits and ends and min(ends) <= waits:
            note(
                f"model.{name}={waits}: the {part} {waits:,} steps, the run has {min(ends):,}, so "
                "that training does not change this part; choose fewer"
            )


def _steps_an_epoch(trainer: L.Trainer, loader: object) -> int | None:
    """Optimiser steps of an epoch; None of a loader without a length."""
    if not isinstance(loader, Sized):
        return None
    return math.ceil(len(loader) / trainer.accumulate_grad_batches)
