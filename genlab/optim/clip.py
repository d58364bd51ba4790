"""Adaptive gradient clipping."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from timm.utils import adaptive_clip_grad

from genlab.optim.hooks import closure_of, with_closure


def attach(optimizer: torch.optim.Optimizer, module: L.LightningModule, factor: float) -> None:
    """Clip each unit's gradient to ``factor`` times the norm of the unit's weights, at every step.

    Brock, De, Smith and Simonyan 2021 (arXiv:2102.06171), as timm has it; the last layer, the
    module's child ``head``, is left alone, as in the paper. The gradient is the accumulated one,
    averaged over ranks, unscaled, after the trainer's clipping by norm if that is on too.
    """
    clipped = [p for n, p in module.named_parameters() if not n.startswith("head.")]

    def before_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> Any:
        closure = closure_of(args, kwargs)
        if closure is None:
            adaptive_clip_grad(clipped, factor)
            return None

        def with_clipping() -> Any:
            loss = closure()
            adaptive_clip_grad(clipped, factor)
            return loss

        return with_closure(args, kwargs, with_clipping)

    optimizer.register_step_pre_hook(before_step)
