"""Clipping of gradients, tensor by tensor or unit by unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from timm.utils import adaptive_clip_grad

from genlab.internals import torch_parts
from genlab.optim.hooks import closure_of, with_closure


def attach(optimizer: torch.optim.Optimizer, module: L.LightningModule, factor: float) -> None:
    """Clip each unit's gradient to ``factor`` times the norm of the unit's weights, at every step.

    Brock, De, Smith and Simonyan 2021 (arXiv:2102.06171), as timm has it; the last layer, the
    module's child ``head``, is left alone, as in the paper. The gradient is the accumulated one,
    averaged over ranks, unscaled, after the trainer's clipping by norm if that is on too.
    """
    clipped = [p for n, p in module.named_parameters() if not n.startswith("head.")]
    _at_every_step(optimizer, lambda: adaptive_clip_grad(clipped, factor))


def attach_each(optimizer: torch.optim.Optimizer, norm: float) -> None:
    """Clip the gradient of each parameter tensor to ``norm``, at every step.

    Caron et al. 2021 (arXiv:2104.14294), as facebookresearch/dino has it: a tensor with a large
    gradient does not shorten the others', as clipping by the norm of all does. The gradient is the
    one that `attach` sees.
    """
    clipped = [p for group in optimizer.param_groups for p in group["params"]]

    def clip() -> None:
        gradients = [p.grad for p in clipped if p.grad is not None]
        if gradients:
            norms = torch_parts.foreach_norm(gradients)
            factors = [(norm / (own + 1e-6)).clamp(max=1) for own in norms]
            torch_parts.foreach_copy_(gradients, torch_parts.foreach_mul(gradients, factors))

    _at_every_step(optimizer, clip)


def _at_every_step(optimizer: torch.optim.Optimizer, clip: Callable[[], None]) -> None:
    def before_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> Any:
        closure = closure_of(args, kwargs)
        if closure is None:
            clip()
            return None

        def with_clipping() -> Any:
            loss = closure()
            clip()
            return loss

        return with_closure(args, kwargs, with_clipping)

    optimizer.register_step_pre_hook(before_step)
