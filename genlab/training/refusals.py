"""Refusals of a recipe, each with its key, its file and a way out."""

from __future__ import annotations

import inspect
import os
import re
from typing import Any

import lightning as L
import torch
from lightning.pytorch import callbacks as lightning_callbacks

from genlab import process
from genlab.cluster import launch
from genlab.errors import DeviceError, RecipeError, nearest
from genlab.recipes import Recipe, classes
from genlab.recipes.typed import COMMAND_LINE
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.tracking.settings import Tracking

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "32", "16", "bf16")
OTHERS = ("64", "64-true", "16-true", "bf16-true", "transformer-engine")  # Lightning's
STRATEGIES = (
    "auto", "ddp", "ddp_find_unused_parameters_true", "ddp_find_unused_parameters_false",
    "single_device",
)  # fmt: skip
WHOLE = ("DDPStrategy", "SingleDeviceStrategy")  # Lightning's classes that keep weights whole
AT_LEAST_ONE = ("log_every_n_steps", "val_check_interval", "check_val_every_n_epoch",
                "accumulate_grad_batches", "limit_train_batches", "num_nodes")  # fmt: skip
NULLS = (
    "log_every_n_steps",
    "val_check_interval",
    "check_val_every_n_epoch",
    "limit_train_batches",
)
UNITS = ("weeks", "days", "hours", "minutes", "seconds", "milliseconds", "microseconds")
MOST_DEVICES = 64  # for a core of this machine
GROUPS = {"trainer": L.Trainer, "checkpoint": Checkpoints, "track": Tracking}


def place(recipe: Recipe, group: str, key: str) -> str:
    """The file that sets an argument, and the argument: the second line of a message."""
    path = f"{group}.init_args.{key}" if group in ("model", "data") else f"{group}.{key}"
    return f"{recipe.origin(path)}, {group}.{key}"


def check_groups(recipe: Recipe) -> None:
    """Keys of trainer, checkpoint and track against their constructors.

    Raises:
        RecipeError: the first that is wrong.
    """
    for group, kind in GROUPS.items():
        valid = set(inspect.signature(kind).parameters)
        given = recipe.config.get(group) or {}
        if not isinstance(given, dict):
            raise RecipeError(f"{group} must be a mapping, not {given!r}", recipe.origin(group))
        for key in given:
            if key not in valid:
                hint = nearest(key, valid)
                raise RecipeError(f"{group} has no setting {key}", place(recipe, group, key), hint)
    _check_trainer(recipe, recipe.config.get("trainer") or {})


def _check_trainer(recipe: Recipe, trainer: dict[str, Any]) -> None:
    """Check a trainer: no logger but those of ``track``, limits above 0, precision, callbacks."""
    if trainer.get("logger") not in (None, False):
        what = "loggers are set under track:, not trainer.logger"
        raise RecipeError(what, place(recipe, "trainer", "logger"))
    for key in ("max_epochs", "max_steps"):
        if trainer.get(key) == 0:
            raise RecipeError(f"trainer.{key} 0 trains nothing", place(recipe, "trainer", key))
        if isinstance(limit := trainer.get(key), int) and limit < -1:
            what = f"trainer.{key} must be above 0, or -1 for no limit, not {limit}"
            raise RecipeError(what, place(recipe, "trainer", key))
    precision = trainer.get("precision")  # weights, statistics, losses and draws are float32
    if precision is not None and str(precision) not in PRECISIONS:
        hint = nearest(str(precision), PRECISIONS)
        what = f"unknown trainer.precision {precision}"
        if str(precision) in OTHERS:
            what = f"trainer.precision {precision}: weights stay float32 here"
            hint = nearest(str(precision), PRECISIONS[:3])
        raise RecipeError(what, place(recipe, "trainer", "precision"), hint)
    _check_numbers(recipe, trainer)
    _check_strategy(recipe, trainer.get("strategy"))
    known = set(classes("callbacks")) | set(lightning_callbacks.__all__)
    listed = trainer.get("callbacks") or []
    for item in listed if isinstance(listed, list) else [listed]:
        name = item.get("class_path") if isinstance(item, dict) else item
        if not isinstance(name, str):
            what = f"trainer.callbacks holds {name!r}, which is not the name of a class"
            raise RecipeError(what, place(recipe, "trainer", "callbacks"))
        if "." not in name and name not in known:
            hint = nearest(name, known)
            raise RecipeError(f"no callback {name}", place(recipe, "trainer", "callbacks"), hint)


def _check_strategy(recipe: Recipe, given: Any) -> None:
    """Refuse strategies that split weights or fork a program which has threads and open files."""
    named = given.get("class_path") if isinstance(given, dict) else given
    arguments = (given.get("init_args") or {}) if isinstance(given, dict) else {}
    if not isinstance(named, str):
        return  # none, or an object of the caller's
    module, _, kind = named.rpartition(".")
    where = place(recipe, "trainer", "strategy")
    if kind.endswith("Strategy") and module.partition(".")[0] in ("", "lightning"):
        known = kind in WHOLE
    else:
        known = bool(module) or named in STRATEGIES
    if not known:
        what = f"trainer.strategy {named} is not one of genlab's"
        if re.search("spawn|fork|notebook", named):
            what = f"trainer.strategy {named}: genlab starts its processes as commands"
        elif re.search("(?i)fsdp|deepspeed|parallel", named):
            what = f"trainer.strategy {named}: every process of genlab holds all weights"
        raise RecipeError(what, where, f"choose from {', '.join(STRATEGIES)}")
    if arguments.get("start_method", "popen") != "popen":
        what = f"start_method {arguments['start_method']}: genlab starts processes as commands"
        raise RecipeError(what, where, "leave it out")


def _check_numbers(recipe: Recipe, trainer: dict[str, Any]) -> None:
    """Refuse numbers with which Lightning divides by zero, trains nothing or never begins."""
    for key in AT_LEAST_ONE:
        if key in trainer and (trainer[key] == 0 or (trainer[key] is None and key not in NULLS)):
            what = f"trainer.{key} must be above 0, not {trainer[key]!r}"
            raise RecipeError(what, place(recipe, "trainer", key))
    if trainer.get("barebones"):
        what = "trainer.barebones trains without checkpoints and figures"
        raise RecipeError(what, place(recipe, "trainer", "barebones"))
    limit = trainer.get("max_time")
    for key in limit if isinstance(limit, dict) else ():
        if key not in UNITS:
            where, hint = place(recipe, "trainer", "max_time"), nearest(key, UNITS)
            raise RecipeError(f"trainer.max_time has no unit {key}", where, hint)
    devices, most = trainer.get("devices"), MOST_DEVICES * (os.cpu_count() or 1)
    if str(devices).isdecimal() and int(str(devices)) > most:
        what = f"trainer.devices {devices} is more than this machine has"
        raise RecipeError(what, place(recipe, "trainer", "devices"))
    nodes = trainer.get("num_nodes", 1)
    if isinstance(nodes, int) and nodes > 1 and not _has_peers():
        what = f"trainer.num_nodes {nodes}: no other node has been started, this one would wait"
        hint = "genlab submit, srun or torchrun starts them all"
        raise RecipeError(what, place(recipe, "trainer", "num_nodes"), hint)


def _has_peers() -> bool:
    """True if another program starts the processes of all nodes."""
    return launch.torchrun() or process.in_job() or "MASTER_ADDR" in os.environ


def require_device(accelerator: Any) -> None:
    """Refuse to train on a GPU where torch has none.

    Raises:
        DeviceError: what is missing.
    """
    asked = accelerator in ("gpu", "cuda")
    if asked and not (torch.cuda.is_available() or torch.backends.mps.is_available()):
        built = torch.version.cuda or torch.version.hip
        lacks = "a GPU with a driver" if built else "a torch that is built for GPUs"
        raise DeviceError(f"trainer.accelerator={accelerator}: this machine lacks {lacks}")


def place_of(message: str, recipe: Recipe) -> str:
    """The file whose argument an error message names, as far as it names one."""
    if setting := re.search(r"optimizer\.(\w+)", message):
        path = f"model.init_args.optimizer.{setting[1]}"
        return f"{recipe.origin(path)}, model.optimizer.{setting[1]}"
    for key, value in recipe.arguments("data").items():
        if isinstance(value, str) and value and os.path.abspath(value) in message:
            return place(recipe, "data", key)  # a folder without images
    for key, value in recipe.arguments("model").items():
        if isinstance(value, str) and value and message.startswith(f"{value} "):
            return place(recipe, "model", key)  # as a run that is not there
    words = re.findall(r"\w+", message)
    for groups in (("checkpoint", "data", "model"), ("track", "trainer")):
        places: dict[str, str] = {}
        for group in groups:  # the last one counts where two have a key
            given = recipe.config.get(group) or {}
            places |= dict.fromkeys(given.get("init_args", given), group)
        for named in (word for word in words if word in places):  # what the message names first
            return place(recipe, places[named], named)
    if re.search(r"\d px\b", message) and recipe.origin("data.class_path") == COMMAND_LINE:
        return f"{COMMAND_LINE}, data"  # whose size the model is filled with
    return recipe.origin("model.class_path")
