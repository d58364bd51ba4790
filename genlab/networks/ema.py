"""A running average of a module's weights."""

from __future__ import annotations

import copy
import math
from typing import TypeVar

import torch
from timm.layers import DropBlock2d, DropPath, PatchDropout
from torch import Tensor, nn

from genlab.internals import torch_parts

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
Copied = TypeVar("Copied", bound=nn.Module)
NOISE = {DROPOUTS: "p", (DropPath, DropBlock2d): "drop_prob", (PatchDropout,): "prob"}


class EMA(nn.Module):
    """The exponential moving average of a module, itself usable as that module.

    The average is part of the checkpoint; it is never trained and always in eval mode. Call
    `update` once per optimiser step. Buffers (batch norm's statistics) are copied, not averaged.

    Args:
        module: module to average; copied here.
        decay: fraction of the average kept at each step, in [0, 1).

    Raises:
        ValueError: decay outside [0, 1).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.average = copy.deepcopy(module).requires_grad_(False).eval()

    def forward(self, x: Tensor) -> Tensor:
        """Output of the averaged module."""
        return self.average(x)

    def train(self, mode: bool = True) -> EMA:
        """Stay in eval mode."""
        return super().train(False)

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the average towards ``module`` after optimiser step number ``step`` (from 1).

        The decay warms up as min(decay, (1 + step) / (10 + step)), so that the random start is
        forgotten (as in TensorFlow's ExponentialMovingAverage).

        Args:
            module: module of the same architecture as the one that was copied.
            step: number of the optimiser step, from 1.
        """
        ema_step(self.average, module, min(self.decay, (1 + step) / (10 + step)))
        mine, theirs = list(self.average.buffers()), list(module.buffers())
        if mine:
            torch_parts.foreach_copy_(mine, theirs)


def ema_copy(module: Copied, noise: bool = True) -> Copied:
    """The momentum copy of an encoder: same weights, never trained by gradient.

    It keeps its train mode and its own batch-norm statistics; move it with `ema_step`.

    Args:
        module: encoder or head to copy.
        noise: False for a copy without dropout and drop path, in train mode too: what a teacher
            says of an image is then one thing.
    """
    copied = copy.deepcopy(module).requires_grad_(False)
    for part in copied.modules() if not noise else ():
        for kinds, chance in NOISE.items():
            if isinstance(part, kinds):
                setattr(part, chance, 0.0)
    return copied


@torch.no_grad()
def ema_step(average: nn.Module, module: nn.Module, decay: float) -> None:
    """Set average <- decay * average + (1 - decay) * module, parameters only, in place."""
    mine: list[Tensor] = list(average.parameters())
    theirs = [p.detach() for p in module.parameters()]
    torch_parts.foreach_lerp_(mine, theirs, 1 - decay)


def cosine_to_one(base: float, step: int, total: float) -> float:
    """The decay after ``step`` of ``total`` optimiser steps: ``base`` at 0, exactly 1 at the end.

    In an endless run (``total`` infinite) it stays ``base``.

    Source: Grill et al. 2020, arXiv:2006.07733, section 3.3.
    """
    done = min(1.0, step / total)
    return 1 - (1 - base) * (math.cos(math.pi * done) + 1) / 2


def line_to_one(base: float, step: int, total: float) -> float:
    """The decay after ``step`` of ``total`` optimiser steps, along a line from ``base`` to 1.

    In an endless run (``total`` infinite) it stays ``base``.

    Source: Assran et al. 2023, arXiv:2301.08243.
    """
    return base + (1 - base) * min(1.0, step / total)
