"""Running average of a method's weights, used in validation, test, export and checkpoints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn

from genlab.internals import torch_parts

LIVE = "live_weights"  # key of a checkpoint: the trained weights behind the average


class EMAWeights(L.Callback):
    """Average every trained weight after each optimiser step; training itself does not use it.

    Validation and `Pictures` see the average, so that ``val/...`` and ``best.ckpt`` are the
    average's; ``train/...`` is the live weights'. A checkpoint's ``state_dict`` is the average,
    which every later use loads; the live weights are stored next to it for a resume. After
    ``fit`` the method has the average. Only parameters that require a gradient are averaged:
    frozen ones, the method's own momentum copies and all buffers (batch norm's statistics and
    counters) stay live, so nothing is averaged twice. In a recipe it belongs after ``Pictures``
    (``callbacks+:`` puts it there).

    After Polyak and Juditsky (1992) as an exponential average, with the warm-up of TensorFlow's
    ExponentialMovingAverage. Departure: the average starts at the weights after the first step.

    Args:
        decay: fraction of the average that an update keeps, in [0, 1).
        warmup: True to keep, at update n (from 1), min(decay, (1 + n) / (10 + n)): without it .999
            leaves 37 % of the start in the average after 1000 updates.
        every_n_steps: optimiser steps between two updates.

    Raises:
        ValueError: decay or every_n_steps out of range; a strategy that splits the weights.
    """

    def __init__(self, decay: float = 0.999, warmup: bool = True, every_n_steps: int = 1) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"EMAWeights.decay must be in [0, 1), got {decay}")
        if every_n_steps < 1:
            raise ValueError(f"EMAWeights.every_n_steps must be at least 1, got {every_n_steps}")
        self.decay, self.warmup, self.every_n_steps = decay, warmup, every_n_steps
        self.average: dict[str, Tensor] = {}
        self.updates = 0
        self._live: dict[str, Tensor] = {}  # while the method holds the average
        self._step = 0

    @property
    def live(self) -> dict[str, Tensor]:
        """The trained weights while the method has their average; empty at other times."""
        return self._live

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        strategy = trainer.strategy
        if not isinstance(strategy, SingleDeviceStrategy | DDPStrategy):
            raise ValueError(f"EMAWeights requires whole weights, not {type(strategy).__name__}'s")

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        devices = {name: p.device for name, p in pl_module.named_parameters()}
        self.average = {name: t.to(devices[name]) for name, t in self.average.items()}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = trainer.global_step  # known only now when a run is continued

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        step = trainer.global_step
        if step != self._step and step % self.every_n_steps == 0:
            self.update(pl_module)
        self._step = step

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Move the average towards the module's weights; a weight seen first starts there.

        It is float32 at least: 16 bits would lose steps as small as 1 - decay.
        """
        self.updates += 1
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        trained = {n: _wide(p.detach()) for n, p in module.named_parameters() if p.requires_grad}
        known = self.average.keys() & trained.keys()
        if known:
            mine, theirs = [self.average[n] for n in known], [trained[n] for n in known]
            torch_parts.foreach_lerp_(mine, theirs, 1 - (keep if self.warmup else self.decay))
        self.average |= {n: p.clone() for n, p in trained.items() if n not in known}

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "fit" and not self._live:
            self._live = {n: p.detach().clone() for n, p in _named(pl_module, self.average)}
            _load(pl_module, self.average)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        _load(pl_module, self._live)
        self._live = {}

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self.on_validation_end(trainer, pl_module)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        _load(pl_module, self.average)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if not self.average or trainer.state.fn != "fit":
            return
        own = dict(_named(pl_module, self.average))
        names = {id(p): n for n, p in own.items()}  # tied weights have several keys and one name
        for key, p in pl_module.named_parameters(remove_duplicate=False):
            if id(p) in names and key in checkpoint["state_dict"]:
                checkpoint["state_dict"][key] = self.average[names[id(p)]]
        checkpoint[LIVE] = self._live or {n: p.detach() for n, p in own.items()}

    def on_load_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        live = checkpoint.get(LIVE)
        if live is None or trainer.state.fn != "fit":
            return  # a test uses the average
        self.average = {n: checkpoint["state_dict"][n].clone() for n in live}
        _load(pl_module, live)

    def state_dict(self) -> dict[str, Any]:
        """The number of updates, on which the warm-up depends; the average is in the weights."""
        return {"updates": self.updates}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.updates = state_dict["updates"]


def _wide(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def _named(module: nn.Module, names: Iterable[str]) -> list[tuple[str, nn.Parameter]]:
    own = dict(module.named_parameters())
    return [(name, own[name]) for name in names]


@torch.no_grad()
def _load(module: nn.Module, values: dict[str, Tensor]) -> None:
    """Overwrite the named parameters in place."""
    for name, p in _named(module, values):
        p.copy_(values[name])
