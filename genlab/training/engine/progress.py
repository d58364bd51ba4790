"""Progress of training: a bar on a terminal, occasional lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from typing import Any

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from genlab import optim
from genlab.metrics.step_metrics import StepMetrics
from genlab.optim.step_plan import StepPlan


class ProgressReport(L.Callback):
    """Epoch, step, loss, images/s and ETA, on stderr, from rank zero.

    Args:
        every_seconds: seconds between lines where stderr is not a terminal; a bar refreshes 5
            times a second.
    """

    def __init__(self, every_seconds: float = 10.0) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.every = 0.2 if self.console.is_terminal else every_seconds
        self._bar: Progress | None = None
        self._metrics: StepMetrics | None = None
        self._shown = self._started = 0.0
        self._first_step = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        found = [c for c in trainer.callbacks if isinstance(c, StepMetrics)]  # type: ignore[attr-defined]
        self._metrics = found[0] if found else None
        self._started = self._shown = time.perf_counter()
        self._first_step = trainer.global_step
        if trainer.is_global_zero and self.console.is_terminal:
            columns = (BarColumn(24), TextColumn("{task.description}"))
            self._bar = Progress(*columns, console=self.console, auto_refresh=False)
            self._bar.start()
            self._bar.add_task("", total=1.0)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any, **kwargs: Any
    ) -> None:
        now, total = time.perf_counter(), _total_steps(trainer)
        if self._bar is None and 0 < total <= trainer.global_step:
            return  # the line of the end has the last step
        if now - self._shown >= self.every and trainer.is_global_zero:
            self._shown = now
            self._show(trainer, now)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._bar is not None and trainer.state.fn == "fit":
            self._show(trainer, time.perf_counter())

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            self._show(trainer, time.perf_counter(), ended=True)
        self._close()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self, trainer: L.Trainer, now: float, ended: bool = False) -> None:
        step, total = trainer.global_step, _total_steps(trainer)
        share = step / total if total else 0.0
        text = self._line(trainer, now, step, total, ended)
        if self._bar is None:
            print(text, file=sys.stderr, flush=True)
        else:
            self._bar.update(self._bar.task_ids[0], completed=share, description=text)
            self._bar.refresh()

    def _line(
        self, trainer: L.Trainer, now: float, step: int, total: int, ended: bool = False
    ) -> str:
        epoch = max(1, trainer.current_epoch + (not ended))  # an ended one has been counted
        last = _last_epoch(trainer, total)
        parts = [f"epoch {min(epoch, last)}/{last}" if last else f"epoch {epoch}"]
        parts.append(f"step {step:,}/{total:,}" if total else f"step {step:,}")
        latest = self._metrics.latest if self._metrics else {}
        if "train/loss" in latest:
            parts.append(f"train/loss {latest['train/loss']:.4g}")
        if "val/loss" in trainer.callback_metrics:
            parts.append(f"val/loss {float(trainer.callback_metrics['val/loss']):.4g}")
        if "train/images_per_second" in latest:
            parts.append(f"{latest['train/images_per_second']:,.0f} images/s")
        done = step - self._first_step
        if total and done:
            parts.append(f"ETA {_clock((now - self._started) / done * (total - step))}")
        return "  ".join(parts)


def _total_steps(trainer: L.Trainer) -> int:
    total = optim.total_steps(trainer.lightning_module)
    return int(total) if math.isfinite(total) and total > 0 else 0


def _last_epoch(trainer: L.Trainer, total: int) -> int:
    """Epoch in which the limits end the training; 0 if that is unknown."""
    epochs = trainer.max_epochs if trainer.max_epochs not in (None, -1) else 0
    plan = StepPlan.of(trainer)
    if total and trainer.max_steps == total and plan and (reached := plan.epoch_of(total)):
        return min(epochs, reached) if epochs else reached
    return epochs or 0


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
