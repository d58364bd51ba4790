"""Validate optimizer settings."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from genlab.errors import nearest
from genlab.optim import names, sam
from genlab.optim.groups import check_parts, check_patch_embed
from genlab.optim.schedules import SCHEDULES

DEFAULTS: dict[str, Any] = {
    "name": "adam",
    "lr": 1e-3,
    "lr_batch": None,
    "weight_decay": 0.0,
    "final_weight_decay": None,
    "lr_scale": None,
    "layer_decay": None,
    "spared_lr": 1.0,
    "patch_embed_lr": 1.0,
    "spare_vectors": True,
    "fixed_lr": None,
    "schedule": "constant",
    "warmup_steps": 0,
    "warmup_epochs": 0,
    "final_lr": 0.0,
    "milestones": None,
    "milestone_factor": 0.1,
    "pct_start": 0.3,
    "div_factor": 25.0,
    "final_div_factor": 1e4,
    "cycle_momentum": True,
    "base_momentum": 0.85,
    "max_momentum": 0.95,
    "agc": None,
    "clip_each": None,
    "sam": None,
    "sam_adaptive": False,
}
MOST = 3.4e38  # of 32 bits
ONLY_WITH = {
    "onecycle": ("pct_start", "div_factor", "final_div_factor", "cycle_momentum", "base_momentum",
                 "max_momentum"),
    "step": ("milestones", "milestone_factor"),
}  # fmt: skip
NOT_WITH = {
    "onecycle": ("warmup_steps", "warmup_epochs", "final_lr"),
    "step": ("final_lr",),
    "cosine_7_16": ("final_lr",),
}
POSITIVE = ("lr_batch", "layer_decay", "spared_lr", "patch_embed_lr", "milestone_factor",
            "pct_start", "div_factor", "final_div_factor", "agc", "clip_each", "sam")  # fmt: skip
AT_MOST_ONE = ("layer_decay", "pct_start", "final_lr", "base_momentum", "max_momentum")


def check(
    settings: dict[str, Any] | None, module: nn.Module | None = None, trainer: Any = None
) -> None:
    """Try settings on a separate parameter, so that a wrong one is refused before training.

    Args:
        settings: plain dictionary, see `build`.
        module: the method, where it is known: its parts are looked up as well.
        trainer: its trainer, where it is known.

    Raises:
        ValueError: unknown optimiser, schedule or argument of the optimiser; a value out of range;
            a setting of another schedule; a part that the method lacks; what the trainer refuses
            to a method that steps by itself.
    """
    options = DEFAULTS | (settings or {})
    name, schedule = str(options["name"]), str(options["schedule"])
    if not names.is_known(name):
        raise ValueError(f"unknown optimizer {name}; {nearest(name, names.known())}")
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown schedule {schedule!r}; {nearest(schedule, SCHEDULES)}")
    _check_construction(name, options)
    _check_numbers(options)
    _check_schedule(schedule, options)
    _check_one_group(name, options)
    _check_spared(name, options)
    if options["sam_adaptive"] and options["sam"] is None:
        raise ValueError("optimizer.sam_adaptive requires optimizer.sam, the radius")
    if options["sam"] is not None:
        sam.refuse(trainer)
    if module is not None:
        _check_trainer(module, trainer)
        check_parts(module, options["lr_scale"], options["layer_decay"])
        if options["patch_embed_lr"] != 1:
            check_patch_embed(module)
        check_parts(module, dict.fromkeys(options["fixed_lr"] or [], 1.0), None, "fixed_lr")


def _check_trainer(module: nn.Module, trainer: Any) -> None:
    """Refuse trainer settings that a method with several optimisers has as its own arguments."""
    if trainer is None or getattr(module, "automatic_optimization", True):
        return
    if trainer.gradient_clip_val or trainer.accumulate_grad_batches != 1:
        key = "gradient_clip_val" if trainer.gradient_clip_val else "accumulate_grad_batches"
        kind = type(module).__name__
        raise ValueError(f"trainer.{key} does not reach {kind}'s optimisers: set model.{key}")


def arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Settings that go to the optimiser; ``betas: [0, 0.9]`` as YAML gives it as a tuple."""
    return {
        key: tuple(float(v) for v in value) if isinstance(value, list) else value
        for key, value in options.items()
        if key not in DEFAULTS
    }


def _check_construction(name: str, options: dict[str, Any]) -> None:
    """Check that the optimiser exists, accepts its arguments, and does not ignore weight decay."""
    extra = arguments(options)
    try:
        accepted = names.accepted(name)
        for key in extra:
            if key not in accepted:
                hint = nearest(key, {*accepted, *DEFAULTS})
                raise ValueError(f"unknown argument {key}; {hint}")
            _check_length(key, extra[key], accepted[key])
        for key in ("weight_decay", "final_weight_decay"):
            if options[key] and "weight_decay" not in accepted:
                raise ValueError(f"it has no {key}")
        names.create(name, [nn.Parameter(torch.zeros(2, 2))], 1e-3, extra)
    except (TypeError, ValueError, ImportError, AssertionError) as error:
        raise ValueError(f"optimizer {name}: {error}") from None


def _check_length(key: str, value: Any, default: Any) -> None:
    """Refuse a list that is not as long as the optimiser's own, such as one beta for Adam."""
    if isinstance(default, tuple) and isinstance(value, tuple) and len(value) != len(default):
        raise ValueError(f"{key} must be a list of {len(default)} numbers, got {list(value)}")


def _check_numbers(options: dict[str, Any]) -> None:
    for key in (
        "lr",
        "weight_decay",
        "final_weight_decay",
        "warmup_steps",
        "warmup_epochs",
        *AT_MOST_ONE,
        *POSITIVE,
    ):
        value, low = options[key], 0
        if value is None and DEFAULTS[key] is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= value <= MOST or (value == 0 and key in POSITIVE):
            bound = "> 0" if key in POSITIVE else ">= 0"
            bound += "" if not number or value < MOST else f" and below {MOST}"
            raise ValueError(f"optimizer.{key} must be a number {bound}, got {value!r}")
        if key in AT_MOST_ONE and value > 1:
            raise ValueError(f"optimizer.{key} must be at most 1, got {value!r}")
    scales = options["lr_scale"]
    if scales is not None and not (
        isinstance(scales, dict)
        and all(isinstance(v, int | float) and v > 0 for v in scales.values())
    ):
        raise ValueError(f"optimizer.lr_scale must map parts to factors > 0, got {scales!r}")
    fixed = options["fixed_lr"]
    if fixed is not None and not (
        isinstance(fixed, list) and all(isinstance(part, str) for part in fixed)
    ):
        raise ValueError(f"optimizer.fixed_lr must list parts of the method, got {fixed!r}")


def _check_schedule(schedule: str, options: dict[str, Any]) -> None:
    """Check that the schedule ignores none of the given settings."""
    for owner, keys in ONLY_WITH.items():
        for key in keys:
            if schedule != owner and options[key] != DEFAULTS[key]:
                raise ValueError(f"optimizer.{key} is for schedule {owner}, not {schedule}")
    for key in NOT_WITH.get(schedule, ()):
        if options[key]:
            raise ValueError(
                f"optimizer.{key} does nothing with schedule {schedule}; set it to {DEFAULTS[key]}"
            )
    given = options["milestones"]
    if schedule == "step" and not (
        isinstance(given, list)
        and given
        and all(isinstance(m, int | float) and m > 0 for m in given)
        and (max(given) < 1 or min(given) >= 1)
    ):
        raise ValueError(
            "optimizer.milestones must list fractions of the run, all below 1, or epochs,"
            f" all from 1, got {given!r}"
        )


def _check_one_group(name: str, options: dict[str, Any]) -> None:
    keys = ("lr_scale", "layer_decay", "spared_lr", "patch_embed_lr", "fixed_lr",
            "final_weight_decay", "sam")  # fmt: skip
    for key in keys:
        if name in names.ONE_GROUP and options[key] and options[key] != DEFAULTS[key]:
            raise ValueError(f"optimizer.{key} cannot be combined with {name}")


def _check_spared(name: str, options: dict[str, Any]) -> None:
    """Check that sparing nothing changes something, and contradicts no other setting."""
    spare = options["spare_vectors"]
    if not isinstance(spare, bool):
        raise ValueError(f"optimizer.spare_vectors must be true or false, got {spare!r}")
    if not spare and options["spared_lr"] != DEFAULTS["spared_lr"]:
        raise ValueError("optimizer.spared_lr cannot be combined with spare_vectors: false")
    decays = options["weight_decay"] or options["final_weight_decay"]
    if not spare and not decays and name.removeprefix("lookahead_") != "lars":
        raise ValueError("optimizer.spare_vectors: false requires weight_decay, or name: lars")
