"""Trainings from Python: a recipe's name and settings in, a run out."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import process, recipes, runs
from genlab.cluster import launch
from genlab.errors import RecipeError
from genlab.recipes import Recipe

if TYPE_CHECKING:
    import lightning as L

Settings = Mapping[str, Any] | None


@dataclass(frozen=True)
class Run:
    """A run directory and what is in it; a path for everything that takes one.

    Args:
        path: the directory.
    """

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def metrics(self) -> dict[str, Any]:
        """The final metrics: ``metrics.json``; empty before training has ended."""
        return runs.read_json(self.path / "metrics.json")

    @cached_property
    def method(self) -> L.LightningModule:
        """The method with the selected weights, in eval mode on the CPU."""
        from genlab.checkpoints import load

        return load(self.path)


def fit(
    recipe: str | os.PathLike[str] | None = None,
    settings: Settings = None,
    *,
    resume: str | os.PathLike[str] | None = None,
) -> Run:
    """Train a recipe in a new run directory below ``runs/``, or continue a run in its own.

    The weights are those of the command ``genlab fit`` with the same settings. Afterwards the
    process is as it was: random generators, threads, environment, signal handlers. It trains on one
    device, unless torchrun or srun has started a process for each.

    Args:
        recipe: name of a shipped recipe, or a file.
        settings: values over the recipe's, such as ``{"model.lr": 1e-3}``.
        resume: run to continue, in place of a recipe.

    Raises:
        InputError: wrong input, in at most three lines; nothing has been written.
        EarlyEnd: training has ended early, at a step that is not finite or without its data; the
            message says what is kept.
        KeyboardInterrupt: after Ctrl-C; the run can be continued.
    """
    from genlab.training import fitting
    from genlab.training.endings import INTERRUPTED, EarlyEnd
    from genlab.training.isolation import restored

    files = [] if recipe is None else [_path(recipe)]
    words = as_words(settings)
    with restored():
        launch.check()
        alone = _check_devices(files, words, resume)
        try:
            path = fitting.fit(
                files, words, None if resume is None else os.fspath(resume), one_device=alone
            )
            return Run(path)
        except EarlyEnd as end:
            if end.code == INTERRUPTED:
                raise KeyboardInterrupt(str(end)) from None
            raise


def recipe(name: str | os.PathLike[str], settings: Settings = None) -> Recipe:
    """A recipe resolved and checked: its ``config`` is one mapping of everything it says.

    Args:
        name: name of a shipped recipe, a file or a run.
        settings: values over the recipe's.

    Raises:
        InputError: no such recipe, or an unknown key.
    """
    found = recipes.resolve([os.fspath(name)], as_words(settings))
    recipes.check_keys(found)
    return found


def _path(name: str | os.PathLike[str]) -> str:
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        raise RecipeError(f"a recipe is a name or a file, not {name!r}")
    return os.fspath(name)


def as_words(settings: Settings) -> list[str]:
    """``{"model.lr": 1e-3}`` -> ``["model.lr=0.001"]``.

    Raises:
        RecipeError: a value that no recipe can hold.
    """
    if settings is not None and not isinstance(settings, Mapping):
        raise RecipeError(
            f"settings must be a mapping such as {{'model.lr': 1e-3}}, not {settings!r}"
        )
    words = []
    for key, value in (settings or {}).items():
        try:
            plain = json.dumps(value, default=os.fspath, allow_nan=False)  # JSON is YAML
        except (TypeError, ValueError):
            what = f"{key} must be a number, a string, a list or a mapping, not {value!r}"
            raise RecipeError(what, "settings") from None
        words.append(f"{key}={plain}")
    return words


def _check_devices(files: list[str], words: list[str], resume: Any) -> bool:
    """Refuse several devices, which Lightning would start by running the program anew.

    Returns:
        True if ``auto`` must mean the first device: this process is alone.
    """
    if launch.torchrun() or process.in_step():  # each process has its device
        return False
    recipes.refuse_untrained(os.fspath(resume or ""))
    found = recipes.of_run(runs.find(resume), words) if resume else recipes.resolve(files, words)
    trainer = found.config.get("trainer") or {}
    devices, nodes = trainer.get("devices", "auto"), trainer.get("num_nodes", 1)
    if devices not in (None, "auto") and (
        nodes != 1 or str(devices).strip("[]") not in ("0", "1") or devices in (0, "0")
    ):
        what = ["--resume", os.fspath(resume)] if resume is not None else files
        command = shlex.join(["genlab", "fit", *what, *words])
        raise RecipeError(
            f"trainer.devices {devices}: several devices require a process each, which a notebook "
            "cannot start",
            hint=f"use the command: {command}",
        )
    return True
