"""Norms of each layer's gradient, weights and update, and whether gradients vanish in depth."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor, nn

from genlab.drawing.charts import figure, pixels, plain
from genlab.drawing.may_fail import may_fail
from genlab.training.tracking.shown import publish, run_name

KINDS = ("gradient", "weight", "update")
LEAST = 1e-30  # smallest ratio of gradients that is told apart from none


class StepNorms(L.Callback):
    """Norms by layer in metrics.csv at every n-th step, and ``pictures/step_norms.png``.

    A layer is a module with a matrix or kernel of its own; its norm is that of all its parameters
    together. Gradients are the accumulated ones, averaged over ranks, unscaled, before clipping;
    an update is what the step adds to the weights, weight decay included. Layers stand in the
    order of the method's parts, for a classifier from the first to the head. Measured steps cost a
    copy of the weights.

    Args:
        every_n_steps: optimiser steps between two measurements; the first step is one.

    Logs:
        train/gradient_norm/LAYER (1): Euclidean norm of the loss's gradient by the parameters of a
            layer, at one step.
        train/weight_norm/LAYER (1): norm of a layer's parameters, before the step.
        train/update_norm/LAYER (1): norm of the change of a layer's parameters in the step.
        train/gradient_decades (decades, target 0): log10 of the first layer's gradient norm over
            the last one's, at least -30; far below 0 where gradients vanish on their way.

    Raises:
        ValueError: fewer than one step.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        if every_n_steps < 1:
            raise ValueError(f"StepNorms.every_n_steps must be at least 1, got {every_n_steps}")
        self.every_n_steps = every_n_steps
        self._step = 0
        self._before: dict[str, list[Tensor]] = {}
        self._gradients: dict[str, float] = {}
        self._last: dict[str, tuple[float, float, float]] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = trainer.global_step
        self._before, self._gradients = {}, {}

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if trainer.global_step % self.every_n_steps:
            return
        stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
        for name, parameters in layers(pl_module).items():
            if any(id(p) in stepped for p in parameters):
                self._before[name] = [p.detach().clone() for p in parameters]
                self._gradients[name] = norm([p.grad for p in parameters if p.grad is not None])

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if not self._before:
            return
        found = {
            name: (
                self._gradients[name],
                norm(self._before[name]),
                norm(
                    [
                        p.detach() - old
                        for p, old in zip(parameters, self._before[name], strict=True)
                    ]
                ),
            )
            for name, parameters in layers(pl_module).items()
            if name in self._before
        }
        self._before, self._gradients, self._last = {}, {}, found
        row = {
            f"train/{kind}_norm/{name}": value
            for name, norms in found.items()
            for kind, value in zip(KINDS, norms, strict=True)
        }
        row["train/gradient_decades"] = decades([norms[0] for norms in found.values()])
        for logger in trainer.loggers:
            logger.log_metrics(row | {"epoch": trainer.current_epoch}, self._step - 1)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero and self._last:
            with may_fail("pictures/step_norms"):
                title = plain(f"{run_name(trainer, pl_module)}: norms by layer")
                publish(trainer, "step_norms", chart(self._last, title), self._step)


def layers(module: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Trained parameters of every module that has a matrix or kernel, by its name, in order.

    The two parts of a weight-normalised matrix belong to the module that it is the weight of.
    """
    found: dict[str, list[nn.Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            owner = name.partition(".parametrizations.")[0]
            owner = owner if owner != name else name.rpartition(".")[0]
            found.setdefault(owner, []).append(parameter)
    return {name: some for name, some in found.items() if any(p.ndim > 1 for p in some)}


def norm(tensors: list[Tensor]) -> float:
    """Euclidean norm of all tensors together; 0 of none."""
    squares = [t.detach().double().square().sum() for t in tensors]
    return math.sqrt(float(sum(squares))) if squares else 0.0


def decades(norms: list[float]) -> float:
    """log10 of the first norm over the last, from -30; NaN where the last is 0 or not finite."""
    if not norms or not norms[-1] > 0 or not all(map(math.isfinite, (norms[0], norms[-1]))):
        return math.nan
    return math.log10(max(norms[0] / norms[-1], LEAST))


def chart(norms: dict[str, tuple[float, float, float]], title: str) -> np.ndarray:
    """Norms over the layers on a logarithmic axis, one line for each kind: (H, W, 3) bytes."""
    drawn = figure(6, 3.6)
    axes = drawn.add_subplot()
    for kind, marker, values in zip(KINDS, "osD", zip(*norms.values(), strict=True), strict=True):
        shown = [value if value > 0 else math.nan for value in values]
        axes.plot(range(1, len(shown) + 1), shown, marker=marker, markersize=4, label=kind)
    axes.set(xlabel="layer, from the first", ylabel="norm", yscale="log")
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=9)
    return pixels(drawn)
