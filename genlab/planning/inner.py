"""Untrained models in the place of trained ones that a recipe takes from another run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch

from genlab import recipes
from genlab.checkpoints.identity import chosen
from genlab.checkpoints.loading import FROM_RUNS
from genlab.errors import InputError, RecipeError, nearest
from genlab.recipes import Recipe
from genlab.training.building import build
from genlab.training.refusals import place

Make = Callable[[Recipe], L.LightningModule]


def untrained(recipe: Recipe, folder: Path, make: Make | None = None) -> None:
    """Checkpoints of untrained models for what the recipe names by another recipe.

    Args:
        recipe: its model's arguments are changed in place; runs that exist stay.
        folder: place of the checkpoints.
        make: maker of another recipe's model; None for that of a training.

    Raises:
        RecipeError: neither a run nor a shipped recipe.
    """
    arguments = recipe.config["model"].get("init_args") or {}
    for key in FROM_RUNS:
        name = arguments.get(key)
        if not isinstance(name, str) or _exists(name):
            continue
        if name not in recipes.shipped():
            what = f"{key} {name} is neither a run nor a shipped recipe"
            raise RecipeError(what, place(recipe, "model", key), nearest(name, recipes.shipped()))
        other = recipes.resolve([name])
        model = make(other) if make else build(other, folder).model
        arguments[key] = str(folder / f"{key}.ckpt")
        torch.save(_content(model), arguments[key])


def _exists(name: str) -> bool:
    try:
        chosen(name)
    except InputError:
        return False
    return True


def _content(method: L.LightningModule) -> dict[str, Any]:
    kind = type(method)
    return {
        "state_dict": method.state_dict(),
        "hyper_parameters": dict(method.hparams),
        "genlab": {"class_path": f"{kind.__module__}.{kind.__qualname__}"},
    }
