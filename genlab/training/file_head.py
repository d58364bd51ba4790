"""The classifier of a weights file, ``model.head=file``: its classes, and how to measure it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import process, recipes
from genlab.data.naming import SHOWN
from genlab.errors import CheckpointError, RecipeError
from genlab.recipes import COMMAND_LINE, Recipe
from genlab.training.class_names import KEY

if TYPE_CHECKING:
    from genlab.training.building import Lab


def asked(recipe: Recipe) -> bool:
    """True if a recipe's method takes its classifier from a file."""
    given = (recipe.config.get("model") or {}).get("init_args")
    return isinstance(given, dict) and given.get("head") == "file"


def recipe_of(word: str, overrides: list[str]) -> Recipe | None:
    """The recipe that a word names, if it takes a file's classifier; None for runs and others.

    Raises:
        RecipeError: a file's network is typed without its classifier.
    """
    is_file = os.path.isfile(word) and Path(word).suffix in (".yaml", ".yml")
    typed = any("head" in w or "pretrained" in w for w in overrides)
    if not is_file and (word not in recipes.shipped() or not typed):
        return None
    found = recipes.resolve([word], overrides)
    if asked(found):
        return found
    _refuse_half(found, word)
    return None


def _refuse_half(recipe: Recipe, word: str) -> None:
    """Refuse to measure a file's network that is typed without its classifier."""
    takes = recipes.parameters("model", str(recipe.config["model"]["class_path"])) or ()
    typed = recipe.origins.get("model.init_args.pretrained") == COMMAND_LINE
    if typed and recipe.arguments("model").get("pretrained") and "head" in takes:
        what = "a file given as model.pretrained is measured with its own classifier only"
        hint = f"add model.head=file; a run of {word} is measured without model.pretrained"
        raise RecipeError(what, COMMAND_LINE, hint)


def take_classes(recipe: Recipe) -> Sequence[str]:
    """Number the data's labels by the class names of the file whose classifier is taken.

    Args:
        recipe: its data's arguments are changed in place.

    Returns:
        The names; empty where the file has none, nobody asked, or ``data.classes=null`` is typed.

    Raises:
        RecipeError: ``data.classes`` says others, or the file cannot be read.
    """
    if not (asked(recipe) and recipe.arguments("model").get("pretrained")):
        return ()
    from genlab.checkpoints import class_names_of

    given, data = recipe.arguments("model"), recipe.arguments("data")
    source = recipes.without_credentials(str(given["pretrained"]))
    unsafe = bool((given.get("pretrained_options") or {}).get("unsafe_pickle"))
    try:
        names = class_names_of(given["pretrained"], unsafe)
    except CheckpointError as error:
        raise RecipeError(str(error)) from None
    typed = recipe.origins.get(KEY) == COMMAND_LINE
    path = str(recipe.config["data"]["class_path"])
    takes = recipes.parameters("data", path)
    if not names or (takes is not None and "classes" not in takes):
        return ()
    if data.get("classes") is None:
        if typed:
            return ()
        recipe.config["data"].setdefault("init_args", {})["classes"] = names
        recipe.origins[KEY] = source
    elif list(data["classes"]) != names:
        raise RecipeError(
            f"data.classes differ from those of {source}: {_shown(names)}",
            f"{recipe.origin(KEY)}, data.classes",
            "leave data.classes out, or null to number labels as the data does",
        )
    return names


def say(recipe: Recipe, method: Any, names: Sequence[str]) -> None:
    """Print how the classes of a file's classifier and those of the data are matched."""
    if not asked(recipe):
        return
    source = recipes.without_credentials(recipe.arguments("model")["pretrained"])
    count = method.hparams["num_classes"]
    if names:
        line = f"{source} names its classes: labels are numbered by these {count}, {_shown(names)}"
    else:
        line = f"{source}: its {count} classes by number, not by name: label 0 is its first"
    process.note(line)


def open_file(recipe: Recipe) -> tuple[Lab, Path]:
    """Method and data of a recipe whose encoder and classifier are a file's; nothing is trained."""
    from genlab import checkpoints
    from genlab.checkpoints.foreign.fetching import fetch
    from genlab.training.building import build

    recipes.check_keys(recipe)
    lab = build(recipe, Path.cwd())
    given = recipe.arguments("model")
    source = given["pretrained"]
    lab.parents = checkpoints.parents(given)
    if source is True or source == "timm":
        return lab, Path(lab.parents["pretrained"]["file"])
    return lab, fetch(source).file


def refuse_typed(recipe: Recipe, file: Path) -> None:
    """Refuse weights from elsewhere that are typed for a checkpoint, which holds its own.

    Raises:
        RecipeError: ``model.pretrained`` or ``model.head=file`` is typed.
    """
    from genlab.checkpoints.loading import HOW

    given = recipe.arguments("model")
    for name, none in (("head", "new"), ("pretrained", False)):
        key = f"model.init_args.{name}"
        if recipe.origins.get(key) == COMMAND_LINE and given.get(name) not in (none, None):
            what = f"model.{name} has no meaning for {file}, which holds its own weights"
            raise RecipeError(what, COMMAND_LINE, HOW)


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:SHOWN])) + (" ..." if len(names) > SHOWN else "")
