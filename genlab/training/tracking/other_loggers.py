"""Loggers in addition to metrics.csv and W&B: Lightning's, such as TensorBoard's, and others."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch import loggers as lightning_loggers
from lightning.pytorch.loggers import CometLogger, Logger, MLFlowLogger, TensorBoardLogger

from genlab.errors import RecipeError, nearest
from genlab.internals import mlflow_parts
from genlab.recipes import Recipe, load_class
from genlab.training.parsing import Arguments, parameters, parse
from genlab.training.refusals import place
from genlab.training.tracking.configuration import flat, short
from genlab.training.tracking.guarding import never_fatal
from genlab.training.tracking.wandb_run import reason, say

SHORT = {"tensorboard": "TensorBoardLogger", "mlflow": "MLFlowLogger", "comet": "CometLogger"}
PACKAGES = {  # modules of which one must be there
    TensorBoardLogger: ("tensorboard", "tensorboardX"),
    MLFlowLogger: ("mlflow",),
    CometLogger: ("comet_ml",),
}
VERBS = ("log_metrics", "log_graph", "save", "finalize", "after_save_checkpoint")
SECRET = re.compile(
    r"token|secret|passw|pwd|credential|jwt|auth(?!or)|(?:api|access|private)_?key|^key$", re.I
)  # names of arguments
TAG = "genlab_run"  # of MLflow runs: the run's identity, by which a continued run finds its own


@dataclass
class Planned:
    """A logger that is checked and not yet made.

    Args:
        kind: its class.
        arguments: its arguments.
    """

    kind: type[Logger]
    arguments: Arguments

    def start(self, config: dict[str, Any], identity: str, step: int) -> Logger | None:
        """The logger, with the run's configuration; None, and a line, where it cannot start.

        Args:
            config: the resolved recipe and the run's facts.
            identity: the run's name that no other run has.
            step: optimiser steps done; what was logged behind them is logged again.
        """
        given, known = self.arguments.made(), False
        if issubclass(self.kind, TensorBoardLogger) and step:
            given["purge_step"] = step
        try:
            logger = self.kind(**given)
            if isinstance(logger, MLFlowLogger):
                value = identity.replace("'", "")
                logger.tags = {TAG: value} | (logger.tags or {})
                known = mlflow_parts.continue_run(logger, TAG, value)
            if not known:  # MLflow's parameters never change
                logger.log_hyperparams(flat(short(config)))
        except (Exception, SystemExit) as error:  # a server, a file system, the user's class
            say(f"{self.kind.__name__} cannot start ({reason(error)}); metrics.csv goes on")
            return None
        for verb in VERBS:
            setattr(logger, verb, never_fatal(logger, getattr(logger, verb)))
        logger.log_hyperparams = _nothing  # type: ignore[method-assign]
        return logger


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Ignore the method's arguments from Lightning: the resolved recipe has them."""


def plan(recipe: Recipe, run: Path) -> list[Planned]:
    """The loggers of ``track.loggers``, checked.

    Args:
        recipe: the resolved recipe.
        run: the run directory, where they write unless they are told otherwise.

    Raises:
        RecipeError: an unknown class, a wrong argument, a package that is not installed.
    """
    track = recipe.config.get("track")
    listed = track.get("loggers") if isinstance(track, dict) else None
    where, found = place(recipe, "track", "loggers"), list[Planned]()
    seen = list[tuple[type[Logger], dict[str, Any]]]()
    for item in listed if isinstance(listed, list) else []:
        name, given = (item, {}) if isinstance(item, str) else _parts(item, where)
        try:
            _check_secrets(given, name)
            kind = _class_of(name)
            given = _defaults(kind, run, recipe) | given
            if (kind, given) in seen:
                raise RecipeError(f"loggers names {name} twice, with the same arguments")
            seen.append((kind, given))
            found.append(Planned(kind, parse(kind, "loggers", given, recipe)))
        except RecipeError as error:
            what, *rest = str(error).splitlines()
            hint = rest[-1] if rest and not rest[-1].startswith("in ") else ""
            raise RecipeError(f"track.{what.removeprefix('track.')}", where, hint) from None
        _check_package(kind, where)
    return found


def _parts(item: Any, where: str) -> tuple[str, dict[str, Any]]:
    """Name and arguments of a logger in its long form."""
    name = item.get("class_path") if isinstance(item, dict) else None
    given = (item.get("init_args") or {}) if isinstance(item, dict) else None
    if not isinstance(name, str) or not isinstance(given, dict):
        hint = "write a name, or {class_path: NAME, init_args: {KEY: VALUE}}"
        raise RecipeError(f"track.loggers holds {item!r}, which names no logger", where, hint)
    if unknown := item.keys() - {"class_path", "init_args"}:
        hint = "its arguments stand under init_args"
        raise RecipeError(f"track.loggers: {name} has no key {min(unknown)}", where, hint)
    return name, given


def _check_secrets(node: Any, name: str) -> None:
    """Refuse a password or token: arguments are stored with the run and shown to others."""
    for key, value in node.items() if isinstance(node, dict) else ():
        if SECRET.search(str(key)) and value not in (None, ""):
            hint = "give it in the environment, by the variable that its package reads"
            raise RecipeError(
                f"loggers: {name} cannot be given {key}, which would be stored", hint=hint
            )
    for inner in node.values() if isinstance(node, dict) else node:
        if isinstance(inner, dict | list):
            _check_secrets(inner, name)


def _class_of(name: str) -> type[Logger]:
    if name in SHORT or name in SHORT.values():
        found: type[Logger] = getattr(lightning_loggers, SHORT.get(name, name))
        return found
    if "." not in name:
        raise RecipeError(f"loggers: no logger {name}", hint=nearest(name, SHORT))
    try:
        return load_class(name, Logger)
    except RecipeError as error:
        raise RecipeError(f"loggers: {error}") from None


def _defaults(kind: type[Logger], run: Path, recipe: Recipe) -> dict[str, Any]:
    """Arguments that the recipe need not give: names, and a place in the run directory."""
    track = recipe.config["track"]
    if issubclass(kind, MLFlowLogger):
        name = track.get("name") or f"{recipe.name}/{run.name}"
        found = {"experiment_name": track.get("project", "genlab"), "run_name": name}
        if notes := track.get("notes"):
            found["tags"] = {"mlflow.note.content": notes}
        address = os.environ.get("MLFLOW_TRACKING_URI")
        place = {"tracking_uri": address} if address else {"save_dir": str(run / "mlruns")}
        return found | place
    if issubclass(kind, TensorBoardLogger):
        fixed = {"name": "tensorboard", "version": "", "default_hp_metric": False}
        return {"save_dir": str(run)} | fixed
    return {"save_dir": str(run)} if "save_dir" in parameters(kind) else {}


def _check_package(kind: type[Logger], where: str) -> None:
    for known, modules in PACKAGES.items():
        if issubclass(kind, known) and not any(map(find_spec, modules)):
            what = f"track.loggers: {kind.__name__} requires the package {modules[0]}"
            raise RecipeError(what, where, f"pip install {modules[0]}, or 'genlab[loggers]'")
    if issubclass(kind, MLFlowLogger):
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder, from 3.7 on refused
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
