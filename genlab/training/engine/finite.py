"""Steps whose loss or gradient is not finite: no update, and training ends or goes on without."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor, nn

from genlab import distributed
from genlab.internals import lightning_loops
from genlab.internals.lightning_loops import Position
from genlab.metrics.step_metrics import StepMetrics
from genlab.optim.finiteness import gradients_finite, is_finite
from genlab.training.engine import capture
from genlab.training.engine.before_window import BeforeWindow
from genlab.training.engine.checkpointing import validation_follows
from genlab.training.engine.failure import (
    Failure,
    GiveUpError,
    NotFiniteError,
    bits_of,
    first_bad,
    index_of,
    lists,
)
from genlab.training.engine.verdict import Place, Verdict

LONGEST = 1000  # batches without a step of a method that steps by itself


class FiniteGuard(L.Callback):
    """Masks the update of a step whose loss or gradient is not finite on any rank.

    Weights, optimiser, averages, queues and buffers stay as they were. Ranks agree by one number
    before every step: a loss may be infinite where its gradient is finite.

    A CPU reads the verdict before the optimiser's arithmetic, and so does every device under
    ``skip`` or with a gradient scaler, which reads one of its own. Elsewhere the update is undone
    on the device, as are all that follow, until the host reads the verdict: after at most
    ``trainer.log_every_n_steps``, before a validation and before a checkpoint.

    Args:
        nonfinite: ``stop`` to end training, ``skip`` to go on with the next batches.
        most: number of such steps in a row that end training under ``skip``, and of steps that a
            gradient scaler skips.
        late: True to undo on the device; None for what suits it.

    Logs:
        train/skipped_steps (steps, lower): steps so far that changed nothing, because loss or
            gradient was not finite.
    """

    def __init__(
        self, nonfinite: Literal["stop", "skip"] = "stop", most: int = 50, late: bool | None = None
    ) -> None:
        if most < 1:
            raise ValueError(f"track.nonfinite_limit must be at least 1, got {most}")
        self.nonfinite, self.most, self.late = nonfinite, most, late
        self.skipped = self._row = 0
        self._trainer: L.Trainer | None = None
        self._method: L.LightningModule | None = None
        self._figures: StepMetrics | None = None
        self.before: BeforeWindow | None = None
        self._odd: set[str] = set()
        self._at: Position | None = None  # of the first batch since the last step
        self._opening, self._held, self._writing = True, False, False
        self._scaled, self._checked = False, False
        self._losses: list[Tensor] = []
        self._indices: list[Tensor | None] = []
        self._done = 0
        self._verdict: Verdict | None = None  # where an update is undone on the device
        self._stepped: dict[int, int] = {}  # most gradients that each optimiser has applied

    def state_dict(self) -> dict[str, Any]:
        """The number of skipped steps."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.skipped = state_dict["skipped"]

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit" and self._trainer is None:
            lightning_loops.around_steps(trainer, self._around)
            lightning_loops.after_gradients(trainer, self._check)
            lightning_loops.hold_schedulers(trainer, lambda: self._held)
            self._trainer = trainer

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._method, device = pl_module, trainer.strategy.root_device
        self._scaled = getattr(trainer.precision_plugin, "scaler", None) is not None
        if self.late is None:
            self.late = device.type != "cpu" and self.nonfinite == "stop" and not self._scaled
        whole = self.late or any(isinstance(o, torch.optim.LBFGS) for o in trainer.optimizers)
        self.before = BeforeWindow(trainer, pl_module, whole)
        self._odd = {name for name, b in pl_module.named_buffers() if not is_finite(b)}
        self._verdict = Verdict(device) if self.late else None
        found = [c for c in trainer.callbacks if isinstance(c, StepMetrics)]  # type: ignore[attr-defined]
        self._figures = found[0] if found else None
        self._opening, self._row, self._stepped = True, 0, {}
        self._count()

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        self._losses.append(loss.detach() if loss.ndim == 0 else loss.detach().float().sum())

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if self._held:  # callbacks have seen the batch
            for one in (pl_module, *trainer.callbacks):  # type: ignore[attr-defined]
                if callable(forget := getattr(one, "on_step_skipped", None)):
                    forget()
        if self._verdict is not None:
            due = len(self._verdict) >= trainer.log_every_n_steps  # type: ignore[attr-defined]
            if due or validation_follows(trainer, batch_idx):
                self._learn()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._learn()

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Refuse to write weights that are not finite: a finite gradient can overflow them."""
        if self._writing or trainer.state.fn != "fit" or self._method is None:
            return
        self._learn()
        if self._any_rank(bool(self._wrong(pl_module))):
            self._end(Failure("weights", "nan or inf", trainer.global_step))

    def _wrong(self, method: nn.Module) -> str:
        """The first parameter or buffer that is not finite now, and was when training began."""
        named = [*method.named_parameters(), *method.named_buffers()]
        return next((n for n, t in named if n not in self._odd and not is_finite(t)), "")

    def _around(self, run: Callable[[], Any], batch: Any) -> Any:
        """One batch's loss, gradient and, at the end of a window of batches, update."""
        assert self._trainer is not None
        assert self.before is not None
        if self._opening:
            self._begin(self._trainer)
        self._held, self._opening = False, False
        self._indices.append(index_of(batch))
        try:
            outputs = run()
        except GiveUpError as error:
            self._opening = True
            return self._undo(error.failure)
        if self._continues(self._trainer):
            bad = self.nonfinite == "skip" and self._any_rank(first_bad(self._losses) is not None)
            return {} if bad else outputs  # for the mean of the losses
        self._opening = True
        if self._verdict is not None and self._at is not None:
            self._verdict.close(Place(self._at, self._indices, self.before.settings))
            self.before.put_back_where(self._verdict.at_fault)
        elif not self._scaled:
            self._row = 0
        return outputs

    def _continues(self, trainer: L.Trainer) -> bool:
        """True if the window goes on after this batch: gradients wait for a step."""
        if trainer.lightning_module.automatic_optimization:
            return lightning_loops.accumulates(trainer)
        waits = bool(self._losses) and not self._checked
        return waits and len(self._indices) < LONGEST

    def _begin(self, trainer: L.Trainer) -> None:
        """Remember everything before the first batch of a window."""
        self._at = lightning_loops.position(trainer)
        self._losses, self._indices, self._done, self._checked = [], [], 0, False
        if self.before is not None:
            self.before.remember()

    def _check(self, optimizer: torch.optim.Optimizer, norm: Tensor | None) -> None:
        """The verdict on a gradient that is about to be applied.

        Raises:
            GiveUpError: it or a loss before it is not finite.
        """
        assert self._trainer is not None
        assert self.before is not None
        own = (p.grad for group in optimizer.param_groups for p in group["params"])
        gradients = [gradient for gradient in own if gradient is not None]
        self._checked = True
        if self._verdict is not None:
            if not self._makes_state(optimizer, len(gradients)):
                self._verdict.note(self._losses, gradients)
                return
            if (earlier := self._found()) is not None:
                raise GiveUpError(earlier)
        loss = first_bad(self._losses)
        fine = not self._any_rank(loss is not None or not gradients_finite(gradients, norm))
        if fine:
            self._row = 0 if self._scaled else self._row
            if self._verdict is None:
                self._done += 1
                if not self._trainer.lightning_module.automatic_optimization:
                    self.before.remember()  # a later step of the same batch leaves this one be
            return
        if self._scaled and self._row + 1 < self.most and not self._any_rank(loss is not None):
            self._row += 1  # the scaler passes over the step and lowers its factor
            return
        raise GiveUpError(self._failure(self._at, loss, self._done))

    def _makes_state(self, optimizer: torch.optim.Optimizer, count: int) -> bool:
        """True if the step makes moments of which there is no earlier value to go back to."""
        before = self._stepped.get(id(optimizer), 0)
        self._stepped[id(optimizer)] = max(before, count)
        return count > before

    def _any_rank(self, mine: bool) -> bool:
        assert self._trainer is not None
        if not distributed.active():
            return mine
        flag = torch.tensor(float(mine), device=self._trainer.strategy.root_device)
        return bool(distributed.all_reduce_max(flag))

    def _failure(self, at: Position | None, loss: float | None, done: int = 0) -> Failure:
        assert at is not None
        value = "nan or inf" if loss is None else str(loss)
        return Failure("gradient" if loss is None else "loss", value, at.step + 1, at, done=done)

    def _undo(self, failure: Failure) -> dict[str, Any]:
        """Set everything back to before the window; go on under ``skip``."""
        assert self._trainer is not None
        assert self.before is not None
        if failure.at is self._at:  # not one of those before, which the device has masked
            failure.bits, failure.indices = bits_of(self._losses), lists(self._indices)
        self.before.put_back()
        lightning_loops.uncount_step(self._trainer)
        self._row += 1
        if self._scaled:
            self._trainer.precision_plugin.scaler.update()  # type: ignore[attr-defined]
        patient = self._row < self.most if self._scaled else self.nonfinite == "skip"
        if not patient or self._row > self.most:
            self._end(failure)
        self.skipped, self._held = self.skipped + 1, True
        self._count()
        if self._row == 1 and self._trainer.is_global_zero:
            print(f"{failure}: not applied, {self.skipped} so far", file=sys.stderr)
        return {}

    def _count(self) -> None:
        if self._figures is not None and (self.nonfinite == "skip" or self.skipped):
            self._figures.counts["skipped_steps"] = self.skipped

    def _found(self) -> Failure | None:
        """The first window at fault that the device has masked, in the one transfer of many."""
        if self._verdict is None or self.before is None or self._at is None:
            return None
        now = Place(self._at, self._indices, self.before.settings)
        if (found := self._verdict.read(now)) is None:
            return None
        place, loss = found
        self.before.put_settings_back(place.settings)
        failure = self._failure(place.at, None if math.isfinite(loss) else loss)
        failure.indices = lists(place.indices)
        return failure

    def _learn(self) -> None:
        if (failure := self._found()) is not None:
            self._end(failure)

    def _end(self, failure: Failure) -> None:
        """End training on all ranks, with everything written that a replay needs.

        Raises:
            NotFiniteError: always.
        """
        assert self._trainer is not None
        assert self._method is not None
        wrong = self._wrong(self._method)
        failure.first = f"{wrong}: weights" if wrong else ""
        every: list[Failure] = distributed.gather_objects(failure)
        rank = min(range(len(every)), key=lambda i: (every[i].what != "loss", not every[i].first))
        of_first, of_first.rank = every[rank], rank
        self._writing = True
        try:
            capture.write(
                self._trainer,
                of_first.at,
                of_first.facts(every) | {"odd": sorted(self._odd)},
                not wrong,
            )
        finally:
            self._writing = False
        raise NotFiniteError(of_first)
