"""Refusals of a recipe, each with its key, its file and a way out."""

from __future__ import annotations

import inspect
import re
from typing import Any

import lightning as L
from lightning.pytorch import callbacks as lightning_callbacks

from genlab.errors import RecipeError, nearest
from genlab.recipes import Recipe, classes
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.tracking.settings import Tracking

PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "32", "16", "bf16")
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
    precision = trainer.get("precision")  # weights, statistics, losses and draws are float32
    if precision is not None and str(precision) not in PRECISIONS:
        what = f"trainer.precision {precision}: weights stay float32 here"
        hint = nearest(str(precision), PRECISIONS[:3])
        raise RecipeError(what, place(recipe, "trainer", "precision"), hint)
    known = set(classes("callbacks")) | set(lightning_callbacks.__all__)
    for item in trainer.get("callbacks") or []:
        name = str(item.get("class_path") if isinstance(item, dict) else item)
        if "." not in name and name not in known:
            hint = nearest(name, known)
            raise RecipeError(f"no callback {name}", place(recipe, "trainer", "callbacks"), hint)


def place_of(message: str, recipe: Recipe) -> str:
    """The file whose argument an error message names, as far as it names one."""
    words = ["optimizer"] if "optimizer." in message else re.findall(r"\w+", message)
    places: dict[str, str] = {}
    for group in ("checkpoint", "data", "model"):  # the last one counts where two have a key
        given = recipe.config.get(group) or {}
        places |= dict.fromkeys(given.get("init_args", given), group)
    for named in (word for word in words if word in places):  # what the message names first
        return f"{recipe.origin(f'{places[named]}.init_args.{named}')}, {places[named]}.{named}"
    return recipe.name
