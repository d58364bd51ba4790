"""Optimiser steps of a run's epochs, also where a continued run's epochs have others."""

from __future__ import annotations

import math
from typing import Any

import lightning as L

ROUNDING = 1e-9  # of an epoch, where its steps are no whole number


class StepPlan(L.Callback):
    """Map from epochs to optimiser steps, which a checkpoint holds.

    Another batch size, accumulation or limit on resume gives later epochs another number of steps:
    the run ends after the steps done and those of the epochs that are left.
    """

    def __init__(self) -> None:
        self.points: list[tuple[float, int]] = [(0.0, 0)]  # epoch and step from where a pace holds
        self.pace = 0.0  # steps an epoch from the last point on; 0 if unknown
        self._done = 0  # steps of the checkpoint that the run is continued from

    @classmethod
    def of(cls, trainer: Any) -> StepPlan | None:
        """The plan of a trainer; None if it has none."""
        found = (c for c in getattr(trainer, "callbacks", ()) if isinstance(c, cls))
        return next(found, None)

    def state_dict(self) -> dict[str, Any]:
        """The points and the pace."""
        return {"points": [list(point) for point in self.points], "pace": self.pace}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up a checkpoint's plan."""
        self.points = [(float(epoch), int(step)) for epoch, step in state_dict["points"]]
        self.pace = float(state_dict["pace"])

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note the steps that are done."""
        self._done = checkpoint["global_step"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Follow the trainer also where no schedule asks for the steps."""
        self.follow(trainer, getattr(pl_module, "batches_per_step", 1))

    def follow(self, trainer: L.Trainer, batches_per_step: int) -> None:
        """Go on from here at the trainer's pace, if that is another than before."""
        steps = trainer.num_training_batches / trainer.accumulate_grad_batches
        if not 0 < steps < math.inf:  # without end, or not loaded yet
            return
        pace = math.ceil(steps) / batches_per_step
        if self.pace and pace != self.pace:
            epoch, step = self.points[-1]
            self.points.append((epoch + (self._done - step) / self.pace, self._done))
        self.pace = pace

    @property
    def changed(self) -> bool:
        """True if epochs of the run have different numbers of steps."""
        return len(self.points) > 1

    def step_at(self, epoch: float) -> float:
        """Optimiser steps until the end of ``epoch`` epochs."""
        ends = [*self.points[1:], (math.inf, 0)]
        for (start, first), (end, last) in zip(self.points, ends, strict=True):
            if epoch <= end < math.inf:
                return first + (epoch - start) * (last - first) / (end - start)
        start, first = self.points[-1]
        return first + (epoch - start) * self.pace

    def epoch_of(self, step: float) -> int:
        """Number, from 1 on, of the epoch that ends with or after a ``step`` behind the points.

        0 before the pace is known.
        """
        if not self.pace:
            return 0
        epoch, first = self.points[-1]
        return max(1, math.ceil(epoch + (step - first) / self.pace - ROUNDING))
