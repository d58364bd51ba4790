"""Learning rates and weight decay over a run: a value for each optimiser step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import lightning as L
import torch

from genlab.internals import lightning_parts
from genlab.optim.step_plan import StepPlan

FALLING: dict[str, Callable[[float], float]] = {  # from 1 at the start of a run to its end
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "linear": lambda done: 1 - done,
    "cosine_7_16": lambda done: math.cos(7 * math.pi * done / 16),  # FixMatch, arXiv:2001.07685
}
SCHEDULES = ("constant", *FALLING, "step", "onecycle")


def attach(
    optimizer: torch.optim.Optimizer,
    module: L.LightningModule,
    options: dict[str, Any],
    repeats: int = 1,
) -> None:
    """Set rates and decay before every step from a counter kept in the first parameter group.

    The schedule advances by one every ``repeats`` steps of this optimiser.
    """
    at, decay = plan(module, options), decay_plan(module, options)
    cycles = options["schedule"] == "onecycle" and options["cycle_momentum"]
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
        if cycles and not {"betas", "momentum"} & set(group):
            raise ValueError("this optimizer has no momentum to cycle: set cycle_momentum: false")
    optimizer.param_groups[0]["schedule_step"] = 0

    def before_step(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        step = optimizer.param_groups[0]["schedule_step"]
        factor, momentum = at(step // repeats)
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * (1.0 if group.get("fixed_lr") else factor)
            if cycles:
                _set_momentum(group, momentum)
            if decay is not None and not group["spared"]:
                group["weight_decay"] = decay(step // repeats)
        optimizer.param_groups[0]["schedule_step"] = step + 1

    optimizer.register_step_pre_hook(before_step)


def plan(
    module: L.LightningModule, options: dict[str, Any]
) -> Callable[[int], tuple[float, float]]:
    """Optimiser step (from 0) -> the fraction of the peak learning rate, and the momentum.

    Raises:
        ValueError: a falling schedule without a number of steps.
    """
    schedule, (total, warmup) = options["schedule"], _steps(module, options)
    if schedule != "constant" and total <= 0:
        raise ValueError(f"schedule {schedule!r} requires trainer.max_epochs or trainer.max_steps")
    if schedule == "onecycle":
        return lambda step: one_cycle(step, total, options)
    if schedule == "step":
        drops = _milestones(module, options, total)
        return lambda step: (_step_factor(step, warmup, drops, options["milestone_factor"]), 0.0)
    final = float(options["final_lr"])
    return lambda step: (lr_factor(step, total, warmup, schedule, final), 0.0)


def decay_plan(module: L.LightningModule, options: dict[str, Any]) -> Callable[[int], float] | None:
    """Optimiser step (from 0) -> the weight decay; None where it is constant.

    0.04 to 0.4 in ten steps: 0.04, 0.0488, ..., 0.3912, as in facebookresearch/dino.

    Raises:
        ValueError: a decay that moves, without a number of steps.
    """
    first, last = float(options["weight_decay"]), options["final_weight_decay"]
    if last is None:
        return None
    total, _ = _steps(module, options)
    if total <= 0:
        raise ValueError("final_weight_decay requires trainer.max_epochs or trainer.max_steps")
    return lambda step: _half_cosine(first, float(last), min(1.0, step / total))


def lr_factor(step: int, total: int, warmup: int, schedule: str, final: float) -> float:
    """The factor of optimiser step ``step`` (from 0): linear warm-up, then constant or falling.

    Warm-up of 3 in a cosine of 10: 1/3, 2/3, 1, 1, .95, ..., the last step just above ``final``.
    """
    if step < warmup:
        return (step + 1) / warmup
    if schedule == "constant":
        return 1.0
    done = min(1.0, (step - warmup) / max(1, total - warmup))
    return final + (1 - final) * FALLING[schedule](done)


def one_cycle(step: int, total: int, options: dict[str, Any]) -> tuple[float, float]:
    """Factor and momentum of step ``step``: up to the peak, then down to almost nothing.

    Smith and Topin 2018 (arXiv:1708.07120) in the form of torch's OneCycleLR: two half cosines, the
    second longer and deeper; the momentum (beta1 of an Adam) falls while the rate climbs.
    """
    peak_step, last = options["pct_start"] * total - 1, total - 1
    start = 1 / options["div_factor"]
    end = start / options["final_div_factor"]
    low, high = options["base_momentum"], options["max_momentum"]
    if step <= peak_step:
        done = step / peak_step if peak_step > 0 else 1.0
        return _half_cosine(start, 1.0, done), _half_cosine(high, low, done)
    done = min(1.0, (step - peak_step) / max(last - peak_step, 1e-9))
    return _half_cosine(1.0, end, done), _half_cosine(low, high, done)


def _half_cosine(start: float, end: float, done: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * done))


def _step_factor(step: int, warmup: int, drops: list[int], factor: float) -> float:
    rising = (step + 1) / warmup if step < warmup else 1.0
    return rising * float(factor) ** sum(step >= drop for drop in drops)


def _milestones(module: L.LightningModule, options: dict[str, Any], total: int) -> list[int]:
    """Fractions of the run, or epochs -> optimiser steps."""
    given = options["milestones"]
    if max(given) < 1:
        return [round(m * total) for m in given]
    epochs = getattr(lightning_parts.trainer_of(module), "max_epochs", None)
    if not epochs or epochs < 1:
        raise ValueError(
            "milestones in epochs require trainer.max_epochs; use fractions of the run"
        )
    return [_step_at(m, module, total) for m in given]


def _step_at(epoch: float, module: L.LightningModule, total: int) -> int:
    """The optimiser step after ``epoch`` epochs of a run of ``total`` steps."""
    trainer = module.trainer
    planned = StepPlan.of(trainer)
    if planned and planned.changed:
        return round(planned.step_at(epoch))
    return round(epoch * total / (trainer.max_epochs or 1))


def _set_momentum(group: dict[str, Any], momentum: float) -> None:
    if "betas" in group:
        group["betas"] = (momentum, *group["betas"][1:])
    else:
        group["momentum"] = momentum


def _steps(module: L.LightningModule, options: dict[str, Any]) -> tuple[int, int]:
    """Optimiser steps of the whole run (0 if endless or unknown), and of the warm-up."""
    trainer = lightning_parts.trainer_of(module)
    warmup_steps, warmup_epochs = int(options["warmup_steps"]), float(options["warmup_epochs"])
    if trainer is None:
        return 0, warmup_steps
    steps = total_steps(module)
    total = int(steps) if math.isfinite(steps) else 0
    if warmup_epochs:
        if trainer.max_epochs is None or trainer.max_epochs < 1:
            raise ValueError("warmup_epochs requires trainer.max_epochs; use warmup_steps")
        warmup_steps = _step_at(warmup_epochs, module, total)
    return total, warmup_steps


def total_steps(module: L.LightningModule) -> float:
    """Optimiser steps of the run that the module is in, by which ``global_step`` counts.

    A method whose step takes several batches (a GAN's generator) says how many in
    ``batches_per_step``; Lightning's estimate knows of gradient accumulation only. It takes all
    epochs for equal; `StepPlan` knows those before another batch size.
    """
    trainer, batches = module.trainer, getattr(module, "batches_per_step", 1)
    steps = trainer.estimated_stepping_batches
    if batches > 1 and trainer.max_epochs not in (None, -1):
        steps = min(steps, trainer.num_training_batches * trainer.max_epochs // batches)
    planned = StepPlan.of(trainer)
    if planned:
        planned.follow(trainer, batches)
        if planned.changed and trainer.max_epochs not in (None, -1):
            steps = round(planned.step_at(trainer.max_epochs))
            return min(steps, trainer.max_steps) if trainer.max_steps >= 0 else steps
    return steps
