"""From a plain dictionary to an optimiser that carries its own schedule.

The learning rate is set in a step hook of the optimiser itself, and the schedule's step counter
lives in ``param_groups``: it counts optimiser steps whatever the gradient accumulation, a step
skipped by the gradient scaler does not move it, it is saved and loaded with the optimiser, and a
step costs a few microseconds where Lightning's scheduler machinery costs a millisecond.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any

import lightning as L
import timm.optim
import torch
from torch import nn

DEFAULTS: dict[str, Any] = {
    "name": "adam",
    "lr": 1e-3,
    "lr_batch": None,
    "weight_decay": 0.0,
    "schedule": "constant",
    "warmup_steps": 0,
    "warmup_epochs": 0,
    "final_lr": 0.0,
}
SCHEDULES = ("constant", "cosine", "linear")


def build(
    module: L.LightningModule, settings: dict[str, Any] | None = None
) -> torch.optim.Optimizer:
    """An optimiser over the module's trainable parameters, with warm-up and schedule inside.

    Args:
        module: the method; its trainer (if any) tells the number of optimiser steps and the batch.
        settings: any of

            - ``name``: an optimiser of timm (``adam``, ``adamw``, ``sgd``, ``lamb`` ...)
            - ``lr``: peak learning rate
            - ``lr_batch``: lr is meant for this global batch and scales linearly with it
            - ``weight_decay``: applied to matrices and kernels, never to biases and norms
            - ``schedule``: ``constant``, ``cosine`` or ``linear`` (down to ``final_lr`` * lr)
            - ``warmup_steps`` or ``warmup_epochs``: linear warm-up, first step at lr / warm-up
            - ``final_lr``: the last learning rate as a fraction of the peak
            - anything else goes to the optimiser (``betas``, ``momentum``, ``eps`` ...).

    Raises:
        ValueError: unknown optimiser or schedule, or a schedule without a number of steps.
    """
    check(settings)
    options = DEFAULTS | (settings or {})
    extra = {k: _number_pairs(v) for k, v in options.items() if k not in DEFAULTS}
    lr = float(options["lr"]) * _batch_factor(module, options["lr_batch"])
    optimizer = timm.optim.create_optimizer_v2(
        decay_groups(module.named_parameters(), float(options["weight_decay"])),
        opt=str(options["name"]),
        lr=lr,
        filter_bias_and_bn=False,
        **extra,
    )
    attach_schedule(optimizer, module, options)
    return optimizer


def check(settings: dict[str, Any] | None) -> None:
    """Try settings on a parameter of its own, so that a wrong one is said before training.

    Raises:
        ValueError: unknown optimiser, schedule or argument of the optimiser.
    """
    options = DEFAULTS | (settings or {})
    extra = {k: _number_pairs(v) for k, v in options.items() if k not in DEFAULTS}
    name, schedule = str(options["name"]), options["schedule"]
    known = timm.optim.list_optimizers()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=2)
        raise ValueError(f"optimizer {name} is unknown" + (f"; near: {close}" if close else ""))
    if schedule not in SCHEDULES:
        raise ValueError(f"schedule {schedule!r} is none of {', '.join(SCHEDULES)}")
    for key in ("lr", "weight_decay", "warmup_steps", "warmup_epochs", "final_lr"):
        if not isinstance(options[key], int | float) or options[key] < 0:
            raise ValueError(f"optimizer.{key} must be a number >= 0, got {options[key]!r}")
    try:
        parameter = nn.Parameter(torch.zeros(1))
        timm.optim.create_optimizer_v2([parameter], opt=name, lr=float(options["lr"]), **extra)
    except (TypeError, ValueError) as error:
        raise ValueError(f"optimizer {name}: {error}") from None


def decay_groups(
    parameters: Iterable[tuple[str, nn.Parameter]], weight_decay: float
) -> list[dict[str, Any]]:
    """Weights that decay, and one-dimensional parameters (norms, biases) that do not."""
    trainable = [p for _, p in parameters if p.requires_grad]
    decay = [p for p in trainable if p.ndim > 1]
    plain = [p for p in trainable if p.ndim <= 1]
    groups = [
        {"params": decay, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def lr_factor(step: int, total: int, warmup: int, schedule: str, final: float) -> float:
    """The fraction of the peak learning rate that optimiser step ``step`` (from 0) is taken with.

    Warm-up of 3 in a cosine of 10: 1/3, 2/3, 1, 1, .95, ..., the last step just above ``final``.
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    falling = (1 + math.cos(math.pi * done)) / 2 if schedule == "cosine" else 1 - done
    return final + (1 - final) * falling


def attach_schedule(
    optimizer: torch.optim.Optimizer, module: L.LightningModule, options: dict[str, Any]
) -> None:
    """Set the learning rate before every step from a counter kept in the first parameter group."""
    schedule, final = options["schedule"], float(options["final_lr"])
    total, warmup = _steps(module, options)
    if schedule != "constant" and total <= 0:
        raise ValueError(f"schedule {schedule!r} needs trainer.max_epochs or trainer.max_steps")
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    optimizer.param_groups[0]["schedule_step"] = 0

    def before_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        step = optimizer.param_groups[0]["schedule_step"]
        factor = lr_factor(step, total, warmup, schedule, final)
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
        optimizer.param_groups[0]["schedule_step"] = step + 1

    optimizer.register_step_pre_hook(before_step)


def _steps(module: L.LightningModule, options: dict[str, Any]) -> tuple[int, int]:
    """Optimiser steps of the whole run (0 if endless or unknown), and of the warm-up."""
    trainer = module._trainer
    warmup_steps, warmup_epochs = int(options["warmup_steps"]), float(options["warmup_epochs"])
    if trainer is None:
        return 0, warmup_steps
    steps = trainer.estimated_stepping_batches
    total = int(steps) if math.isfinite(steps) else 0
    if warmup_epochs:
        if trainer.max_epochs is None or trainer.max_epochs < 1:
            raise ValueError("warmup_epochs needs trainer.max_epochs; use warmup_steps")
        warmup_steps = round(warmup_epochs * total / trainer.max_epochs)
    return total, warmup_steps


def _batch_factor(module: L.LightningModule, lr_batch: int | None) -> float:
    if lr_batch is None:
        return 1.0
    data = getattr(module._trainer, "datamodule", None)
    if data is None:
        raise ValueError("lr_batch needs a data module that knows its batch_size")
    return float(data.batch_size) / lr_batch


def _number_pairs(value: Any) -> Any:
    """``betas: [0, 0.9]`` as YAML gives it -> (0.0, 0.9), which torch insists on."""
    return tuple(float(v) for v in value) if isinstance(value, list) else value
