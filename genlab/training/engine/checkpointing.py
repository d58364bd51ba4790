"""Best, last and periodic checkpoints, written where a resumed run continues bit for bit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from genlab.errors import nearest
from genlab.internals import lightning_loops

LOOK_EVERY = 5.0  # seconds between two looks at the clock when several ranks must agree
MOST_STEPS = 50  # between them


class Checkpoints(Checkpoint):
    """Periodic ``last.ckpt``, ``best.ckpt`` at a new best validation, ``step-N.ckpt`` on request.

    Files are written at optimiser-step boundaries only (a checkpoint contains no accumulated
    gradient), after the validation that follows a step where there is one, after the hooks of an
    epoch's or the training's end where those follow, and by one rename (`AtomicCheckpointIO`).
    ``last.ckpt`` is renewed every ``every_n_seconds``, more rarely when writing is slow: never more
    than 2 % of the time goes into it.

    Args:
        monitor: the validation metric that selects ``best.ckpt``; null keeps no best.
        mode: ``min`` or ``max``.
        every_n_seconds: largest age of ``last.ckpt``.
        every_n_steps: optimiser steps between further writes of ``last.ckpt``; 0 for none.
        keep_every_n_steps: optimiser steps between files ``step-N.ckpt``, all of which are kept;
            0 for none.
    """

    def __init__(
        self,
        monitor: str | None = "val/loss",
        mode: str = "min",
        every_n_seconds: float = 30.0,
        every_n_steps: int = 0,
        keep_every_n_steps: int = 0,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"checkpoint.mode must be min or max, got {mode!r}")
        self.monitor, self.sign = monitor, 1.0 if mode == "min" else -1.0
        self.every_n_seconds, self.every_n_steps = every_n_seconds, every_n_steps
        self.keep_every_n_steps = keep_every_n_steps
        self.directory: Path | None = None
        self.after_selection: list[Callable[[L.Trainer], None]] = []  # before last.ckpt is written
        self.newest: Path | None = None
        self.stamp: dict[str, Any] = {}
        self.has_stopped = False  # of a continued run: early, before it was killed
        self.best: dict[str, Any] = {}
        self._step = self._saved_step = -1
        self._pending: list[str] = []
        self._before, self._look_at, self._looked = 0.0, 0, (0, 0.0)
        self._cost, self._saved_at, self._started = 0.0, time.monotonic(), 0.0

    @property
    def best_path(self) -> Path | None:
        """The selected checkpoint, if validation has selected one."""
        path = self.directory / "best.ckpt" if self.directory else None
        return path if path and path.is_file() else None

    def state_dict(self) -> dict[str, Any]:
        """The best score so far and its step, which survive a resume."""
        by = [self.monitor, self.sign]
        return {"best": self.best, "seconds": self.seconds, "by": by}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        by = state_dict.get("by", [self.monitor, self.sign])
        self.best = state_dict["best"] if by == [self.monitor, self.sign] else {}
        self._before = state_dict.get("seconds", 0.0)

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self.has_stopped and trainer.state.fn == "fit":
            lightning_loops.stop_where_stopped(trainer, checkpoint)

    @property
    def seconds(self) -> float:
        """Wall time spent training so far, over all starts of the run."""
        return self._before + (time.monotonic() - self._started if self._started else 0.0)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self.directory is None:
            self.directory = Path(trainer.default_root_dir) / "checkpoints"

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        kind = type(pl_module)
        checkpoint["genlab"] = {"class_path": f"{kind.__module__}.{kind.__qualname__}"} | self.stamp

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = self._look_at = trainer.global_step
        self._saved_at = self._started = time.monotonic()
        self._looked = self._step, self._started

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
        if self.keep_every_n_steps and step % self.keep_every_n_steps == 0:
            self._pending.append(f"step-{step:08d}.ckpt")
        if self._due(trainer, step):
            self._pending.append("last.ckpt")
        waits = trainer.is_last_batch or validation_follows(trainer, batch_idx)
        if not waits and not training_ends(trainer, step):
            self._save_pending(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._save_pending(trainer)  # after the end of an epoch without validation

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        if self.monitor is not None and self._improved(trainer):
            self._save(trainer, "best.ckpt")
        for call in self.after_selection:
            call(trainer)
        if not training_ends(trainer, trainer.global_step):
            self._save_pending(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._saved_step != trainer.global_step:
            self._pending.append("last.ckpt")
        self._save_pending(trainer)

    def save_now(self, trainer: L.Trainer) -> None:
        """Write ``last.ckpt`` at an optimiser step, on all ranks, unless a file of it is there."""
        if self._saved_step != trainer.global_step:
            self._pending.append("last.ckpt")
        self._save_pending(trainer)

    def _due(self, trainer: L.Trainer, step: int) -> bool:
        """True if ``last.ckpt`` is to be renewed after this step; the same on every rank."""
        if self.every_n_steps and step % self.every_n_steps == 0:
            return True
        if training_ends(trainer, step):
            return True
        now = time.monotonic()
        old = now - self._saved_at >= max(self.every_n_seconds, 50 * self._cost)
        if trainer.world_size == 1:
            return old
        if step < self._look_at and not trainer.is_last_batch:
            return False  # ranks must agree, and agreeing costs a collective
        pace = (now - self._looked[1]) / max(1, step - self._looked[0])
        steps = int(min(MOST_STEPS, max(1.0, LOOK_EVERY / max(pace, 1e-9))))
        old, steps = trainer.strategy.broadcast((old, steps))
        self._look_at, self._looked = step + steps, (step, now)
        return bool(old)

    def _improved(self, trainer: L.Trainer) -> bool:
        value = trainer.callback_metrics.get(str(self.monitor))
        if value is None:
            hint = nearest(str(self.monitor), [k for k in trainer.callback_metrics if "val" in k])
            raise ValueError(f"checkpoint.monitor {self.monitor} was not logged; {hint}")
        score = float(value)
        if trainer.world_size > 1:  # of a metric that is not synchronised ranks have their own
            score = float(trainer.strategy.broadcast(score))
        if not math.isfinite(score) or self.sign * score >= self.sign * self.best.get(
            "score", self.sign * math.inf
        ):
            return False
        self.best = {
            "score": score,
            "step": trainer.global_step,
            "epoch": trainer.current_epoch + 1,
        }
        self.best["metrics"] = {k: float(v) for k, v in trainer.callback_metrics.items()}
        return True

    def _save_pending(self, trainer: L.Trainer) -> None:
        for name in self._pending:
            start = time.monotonic()
            self._save(trainer, name)
            self._saved_step, self._saved_at = trainer.global_step, time.monotonic()
            self._cost = self._saved_at - start
        self._pending = []

    def _save(self, trainer: L.Trainer, name: str) -> None:
        assert self.directory is not None
        trainer.save_checkpoint(self.directory / name)
        self.newest = self.directory / name
        for logger in trainer.loggers:
            logger.after_save_checkpoint(self)  # type: ignore[arg-type]


def training_ends(trainer: L.Trainer, step: int) -> bool:
    """True if this is the last optimiser step that the trainer was asked for."""
    if 0 <= trainer.max_steps <= step:
        return True
    epochs = trainer.max_epochs
    return (
        trainer.is_last_batch and epochs not in (None, -1) and trainer.current_epoch + 1 >= epochs
    )


def validation_follows(trainer: L.Trainer, batch_idx: int) -> bool:
    """True if Lightning validates after this training batch."""
    if not trainer.enable_validation:
        return False
    every = trainer.check_val_every_n_epoch
    if every is not None and (trainer.current_epoch + 1) % every:
        return False
    interval = lightning_loops.batches_per_validation(trainer)
    if trainer.is_last_batch and interval == math.inf:
        return True
    done = batch_idx + 1 if every is not None else lightning_loops.batches_of_run(trainer)
    return bool(interval and done % interval == 0)
