"""Resolve a recipe's references to runs and pretrained architectures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from genlab import recipes, runs
from genlab.checkpoints.identity import chosen
from genlab.checkpoints.loading import FROM_RUNS
from genlab.errors import CheckpointError, RecipeError
from genlab.recipes import Recipe


def pin(recipe: Recipe) -> None:
    """Replace names by what they mean now, so that the resolved recipe keeps its meaning.

    A run becomes the path of its selected checkpoint. Where the recipe says ``encoder: null``,
    it becomes the one that ``pretrained`` holds, so that ``model.pretrained=RUN`` is enough.

    Args:
        recipe: its model's arguments are changed in place.

    Raises:
        RecipeError: no encoder, and weights that do not name their network.
        RunError: no such run.
    """
    arguments = recipe.config["model"]["init_args"]
    for name in FROM_RUNS:
        if isinstance(arguments.get(name), str):
            arguments[name] = _checkpoint_of(arguments[name])
    if isinstance(arguments.get("pretrained"), str):
        arguments["pretrained"] = _definite(arguments["pretrained"])
    if "encoder" in arguments and arguments["encoder"] is None:
        if not arguments.get("pretrained"):
            raise RecipeError(
                "nothing to start from: give a run, a checkpoint or a file of weights",
                recipe.origin("model.class_path"),
                "model.pretrained=RUN, or model.encoder=NAME for fresh weights",
            )
        arguments |= _architecture(arguments, recipe)


def _definite(source: str) -> str:
    """A run or its name -> its checkpoint's path; a file or folder -> its path; the rest as is."""
    path = Path(source).expanduser()
    if os.path.isfile(path) or (os.path.isdir(path) and not runs.is_run(path)):
        return str(path.absolute())
    if ":" in source or source == "timm":  # an address
        return source
    return _checkpoint_of(source)


def _checkpoint_of(run: str) -> str:
    """The path of a run's selected checkpoint."""
    return str(chosen(run).absolute())


def _admit(encoder: str, source: str) -> None:
    """Refuse a network that a file names and that is neither known nor trusted."""
    from genlab.checkpoints import refuse_files
    from genlab.networks.encoders.naming import named_class

    try:
        refuse_files({"encoder": encoder})
        with recipes.inside(recipes.trust.of(source)):
            named_class(encoder)
    except CheckpointError as error:
        raise RecipeError(str(error)) from None


def _architecture(arguments: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """The ``encoder`` and ``encoder_kwargs`` that ``pretrained`` was trained with."""
    from genlab import checkpoints

    source = arguments["pretrained"]
    trusted = bool((arguments.get("pretrained_options") or {}).get("unsafe_pickle"))
    try:
        found = checkpoints.backbone_of(source, unsafe_pickle=trusted)
    except CheckpointError as error:
        raise RecipeError(str(error)) from None
    if found is None:
        where = f"{recipe.origin('model.init_args.pretrained')}, model.pretrained"
        raise RecipeError(f"{source} does not name the network of its weights", where,
                          "name it: model.encoder=NAME")  # fmt: skip
    _admit(str(found["encoder"]), source)
    own = arguments.get("encoder_kwargs") or {}
    theirs = {k: v for k, v in found["encoder_kwargs"].items() if k != "compile"}
    return {"encoder": found["encoder"], "encoder_kwargs": theirs | own}
