"""Sharpness-aware minimisation: the gradient of the worst loss nearby, for any optimiser."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from genlab.internals import lightning_parts
from genlab.optim.hooks import Closure, closure_of, with_closure

ETA = 0.01  # of ASAM: what is added to |w|


def attach(
    optimizer: torch.optim.Optimizer, module: L.LightningModule, rho: float, adaptive: bool
) -> None:
    """Make every step of ``optimizer`` use the gradient at w + e, rho up the gradient at w.

    Foret, Kleiner, Mobahi and Neyshabur 2020 (arXiv:2010.01412); adaptive: Kwon et al. 2021
    (arXiv:2102.11600). As in the authors' code, both passes see the same random numbers (dropout,
    mixing; of torch's generators), and buffers (BatchNorm's statistics) are those of the first; the
    loss and accuracy that Lightning reports for the step are the second's. A step costs two forward
    and backward passes; it leaves no state behind, so checkpoints are the optimiser's own.

    Departures: under DDP the gradient climbed is the mean over ranks, where the paper lets each
    device climb its own (m-sharpness); it does not contain the weight decay, which the authors add
    to the loss; the adaptive form scales every parameter, its authors' code those named weight.
    """
    weights = [p for group in optimizer.param_groups for p in group["params"]]

    def before_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> Any:
        closure = closure_of(args, kwargs)
        if closure is None:
            raise ValueError("sam steps need a closure: optimizer.step(closure)")
        refuse(lightning_parts.trainer_of(module))
        return with_closure(
            args, kwargs, lambda: two_passes(closure, module, weights, rho, adaptive)
        )

    optimizer.register_step_pre_hook(before_step)


def refuse(trainer: Any) -> None:
    """Refuse settings under which SAM would fail silently.

    Raises:
        ValueError: gradient accumulation, or a gradient scaler.
    """
    if getattr(trainer, "accumulate_grad_batches", 1) != 1:
        raise ValueError("optimizer.sam requires trainer.accumulate_grad_batches=1")
    if getattr(getattr(trainer, "precision_plugin", None), "scaler", None) is not None:
        raise ValueError(
            "optimizer.sam cannot be combined with trainer.precision=16-mixed; use bf16-mixed"
        )


def two_passes(
    closure: Closure, module: nn.Module, weights: list[nn.Parameter], rho: float, adaptive: bool
) -> Any:
    """Leaves the gradient at the climbed-to weights on the old weights; the loss at the old."""
    cuda = [w.device for w in weights[:1] if w.device.type == "cuda"]
    with torch.random.fork_rng(cuda):  # afterwards the generators are as before
        loss = closure()
    moving = [w for w in weights if w.grad is not None]
    if loss is None or not moving:
        return loss
    buffers = list(module.buffers())
    before = [t.detach().clone() for t in (*moving, *buffers)]
    climb(moving, rho, adaptive)
    try:
        closure()
    finally:  # also where the gradient up there is refused
        with torch.no_grad():
            for tensor, old in zip((*moving, *buffers), before, strict=True):
                tensor.copy_(old)
    return loss


@torch.no_grad()
def climb(weights: list[nn.Parameter], rho: float, adaptive: bool) -> None:
    """Add rho * g / ||g||, or rho * T^2 g / ||T g|| with T = |w| + 0.01, over all weights."""
    direction: list[Tensor] = [w.grad for w in weights if w.grad is not None]
    if adaptive:
        scale = [w.abs() + ETA for w in weights]
        direction = [t * g for t, g in zip(scale, direction, strict=True)]
    norm = torch.nn.utils.get_total_norm(direction)
    if adaptive:
        direction = [t * g for t, g in zip(scale, direction, strict=True)]
    for weight, g in zip(weights, direction, strict=True):
        weight.add_(g * (rho / (norm + 1e-12)))
