"""Learning rate that falls when validation no longer improves."""

from __future__ import annotations

import sys
from typing import Any, Literal

import lightning as L
import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from genlab.errors import nearest

MEMORY = ("best", "num_bad_epochs", "cooldown_counter")


class ReduceOnPlateau(L.Callback):
    """Multiply the learning rate by ``factor`` when ``monitor`` has stalled.

    The decision is torch's `ReduceLROnPlateau`, made once per validation. It scales the
    peak from which `optim.build` computes each step's learning rate, so warm-up, schedule and the
    ratios between parameter groups stay.

    Args:
        monitor: the validation metric.
        mode: ``min`` or ``max``.
        factor: factor of the learning rate, in (0, 1).
        patience: validations without improvement before the rate is reduced.
        threshold: smallest relative improvement that counts.
        cooldown: validations after a reduction that do not count.
        min_lr: lower bound of every group's peak.

    Raises:
        ValueError: an argument out of range, or a monitor that nobody logs.
    """

    def __init__(
        self,
        monitor: str = "val/loss",
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        if mode not in ("min", "max"):
            raise ValueError(f"ReduceOnPlateau.mode must be min or max, got {mode!r}")
        if not 0 < factor < 1:
            raise ValueError(f"ReduceOnPlateau.factor must be in (0, 1), got {factor}")
        if patience < 0 or cooldown < 0 or min_lr < 0:
            raise ValueError("ReduceOnPlateau: patience, cooldown and min_lr must be at least 0")
        self.monitor, self.factor, self.min_lr = monitor, factor, min_lr
        self._rate = torch.optim.SGD([torch.zeros(1)], lr=1.0)  # a stand-in whose rate torch lowers
        self._plateau = ReduceLROnPlateau(
            self._rate, mode, factor, patience, threshold, cooldown=cooldown, eps=0.0
        )

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        value = trainer.callback_metrics.get(self.monitor)
        if value is None:
            hint = nearest(self.monitor, [k for k in trainer.callback_metrics if "val" in k])
            raise ValueError(f"ReduceOnPlateau.monitor {self.monitor} was not logged; {hint}")
        self._rate.param_groups[0]["lr"] = 1.0
        self._plateau.step(float(value))
        if self._rate.param_groups[0]["lr"] < 1.0:
            self._reduce(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Best value and counters; the reduced rates are the optimiser's."""
        return {name: getattr(self._plateau, name) for name in MEMORY}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name in MEMORY:
            setattr(self._plateau, name, state_dict[name])

    def _reduce(self, trainer: L.Trainer) -> None:
        for group in (g for optimizer in trainer.optimizers for g in optimizer.param_groups):
            for key in ("peak_lr", "lr"):
                if key in group:
                    group[key] = max(group[key] * self.factor, min(self.min_lr, group[key]))
        if trainer.is_global_zero:
            epoch = trainer.current_epoch + 1
            print(
                f"epoch {epoch}: {self.monitor} has stalled, lr x {self.factor:g}", file=sys.stderr
            )
