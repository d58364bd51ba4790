"""Length of a training: which of its limits ends it."""

from __future__ import annotations

import math
from collections.abc import Sized

import lightning as L

from genlab.process import note


def note_early_end(trainer: L.Trainer, loader: object) -> None:
    """Tell the user that ``max_epochs`` ends a training before ``max_steps`` does.

    Args:
        trainer: with both limits.
        loader: batches of an epoch; nothing is told of one without a length.
    """
    epochs, steps = trainer.max_epochs, trainer.max_steps
    if not isinstance(loader, Sized) or epochs is None or epochs < 0 or steps < 0:
        return
    each = math.ceil(len(loader) / trainer.accumulate_grad_batches)
    if each * epochs < steps:
        note(
            f"trainer.max_epochs={epochs} ends training after {each * epochs:,} steps, {each:,} an "
            f"epoch, before trainer.max_steps={steps}"
        )
