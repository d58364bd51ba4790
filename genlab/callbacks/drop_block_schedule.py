"""Schedule of DropBlock's strength over a run."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import timm.layers
import torchvision.ops
from torch import nn

from genlab import optim


class DropBlockSchedule(L.Callback):
    """Raise the drop probability of every DropBlock layer linearly over the optimiser steps.

    Ghiasi, Lin and Le 2018, arXiv:1810.12890, section 3: dropping blocks from the beginning hurts
    learning, so the probability of keeping falls linearly from 1 to its target. The layers are
    timm's (``drop_block_rate`` above 0 builds them into its ResNets) or torchvision's. The
    probability depends on the step only, so a resumed run of the same length continues exactly.

    Args:
        final: drop probability at the last step of the ramp.
        start: drop probability at the first step.
        steps: length of the ramp; null is the whole run.

    Raises:
        ValueError: a probability outside [0, 1); a method without DropBlock; an endless run.
    """

    def __init__(self, final: float = 0.1, start: float = 0.0, steps: int | None = None) -> None:
        for name, value in (("final", final), ("start", start)):
            if not 0 <= value < 1:
                raise ValueError(f"DropBlockSchedule.{name} must be in [0, 1), got {value}")
        if steps is not None and steps < 1:
            raise ValueError(f"DropBlockSchedule.steps must be at least 1, got {steps}")
        self.final, self.start, self.steps = final, start, steps
        self._layers: list[tuple[nn.Module, str]] = []
        self._total = 1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._layers = drop_blocks(pl_module)
        if not self._layers:
            kind = type(pl_module).__name__
            raise ValueError(f"{kind} has no DropBlock layer: set encoder_kwargs.drop_block_rate")
        total = self.steps or optim.total_steps(pl_module)
        if not math.isfinite(total):
            raise ValueError(
                "DropBlockSchedule requires trainer.max_epochs, trainer.max_steps or its own steps"
            )
        self._total = int(total)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        probability = self.probability(trainer.global_step)
        for layer, attribute in self._layers:
            setattr(layer, attribute, probability)

    def probability(self, step: int) -> float:
        """Drop probability at optimiser step ``step`` (from 0)."""
        done = min(1.0, step / max(1, self._total - 1))
        return self.start + (self.final - self.start) * done


def drop_blocks(module: nn.Module) -> list[tuple[nn.Module, str]]:
    """Every DropBlock layer with the name of its probability."""
    ours = [(m, "drop_prob") for m in module.modules() if isinstance(m, timm.layers.DropBlock2d)]
    vision = [(m, "p") for m in module.modules() if isinstance(m, torchvision.ops.DropBlock2d)]
    return [*ours, *vision]
