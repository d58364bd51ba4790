"""Early stopping as a start asks for it, and why it has stopped."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.callbacks.early_stopping import EarlyStoppingReason as Reason


class EarlyStops(L.Callback):
    """Let a continued run wait as long as its recipe says now, and forget a former start's stop.

    A checkpoint holds both: restored as they are, they would undo a change of ``patience`` and tell
    of a stop where training went on.

    Args:
        stoppers: the trainer's.
    """

    def __init__(self, stoppers: list[EarlyStopping]) -> None:
        self._patience = [(stopper, stopper.patience) for stopper in stoppers]

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        kept = any(getattr(each, "has_stopped", False) for each in trainer.checkpoint_callbacks)
        for stopper, patience in self._patience:
            stopper.patience = patience
            if not kept:  # else it was killed between its stop and its end
                stopper.stopped_epoch = 0
                stopper.stopping_reason = Reason.NOT_STOPPED
                stopper.stopping_reason_message = None


def refuse_unvalidated(trainer: L.Trainer, data: L.LightningDataModule) -> None:
    """Refuse early stopping by a validation's metric where no image is left for validation.

    Raises:
        ValueError: it would never act.
    """
    waiting = [s for s in trainer.early_stopping_callbacks if (s.monitor or "").startswith("val/")]
    if not waiting:
        return
    if trainer.limit_val_batches == 0:
        what = "trainer.limit_val_batches is 0"
    elif data.val_dataloader() == []:
        what = "data.val_size is 0"
    else:
        return
    raise ValueError(f"EarlyStopping requires validation images, and {what}")


def why_stopped(stopper: EarlyStopping) -> str:
    """The reason for which early stopping has ended training; empty if it has not."""
    told = {
        Reason.NON_FINITE_METRIC: "is not finite",
        Reason.STOPPING_THRESHOLD: f"has reached {stopper.stopping_threshold}",
        Reason.DIVERGENCE_THRESHOLD: f"has diverged beyond {stopper.divergence_threshold}",
        Reason.PATIENCE_EXHAUSTED: f"has not improved for {stopper.wait_count} validations",
    }
    if stopper.stopping_reason in told:
        return f"{stopper.monitor} {told[stopper.stopping_reason]}"
    return f"{stopper.monitor} on another process" if stopper.stopped_epoch else ""
