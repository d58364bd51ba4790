"""Comparison of recipes by the images that they train on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genlab.errors import RecipeError
from genlab.recipes.class_names import classes, parameters, short
from genlab.recipes.files import read, shipped
from genlab.recipes.resolution import resolve

# settings that define the images of genlab's classes; those of other classes are the class itself
DEFINING = {
    "Arrays": ("images", "key"),
    "BinaryDensity": ("kind",),
    "HuggingFace": ("root", "image"),
    "ImageFolder": ("root",),
    "ImageNet": ("root",),
    "ImageTable": ("table", "image", "split", "root"),
    "TinyImageNet": ("root",),
    "Toys": ("kind", "noise"),
    "Vectors": ("vectors", "key"),
    "WebDataset": ("root", "image"),
}
PLACES = {"images", "root", "table", "vectors"}  # settings that are paths
FORM = {"image_size", "channels", "workers", "in_memory"}  # of the same images
SPEED = {"batch_size", "eval_batch_size", "workers", "in_memory", "download", "rescan"}
LIMITS = ("limit_train_batches", "overfit_batches", "fast_dev_run")  # of a trial of the trainer


def images_of(data: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The class of a recipe's ``data``, and those of its settings that define the images."""
    path = str(data.get("class_path"))
    given = data.get("init_args")
    given = given if isinstance(given, dict) else {}
    name = short(path)
    own = classes("data")
    if own.get(name, path).startswith("genlab."):
        keys = set(DEFINING.get(name, ()))
        given = _with_folder(given) if "table" in keys else given
    else:
        shared = parameters("data", own["Images"]) or set()
        keys = (set(given) - shared - FORM) | {"root"}
    found = {key: given[key] for key in sorted(keys & set(given)) if given[key] is not None}
    for key in PLACES & found.keys():
        if isinstance(found[key], str):
            found[key] = _place(found[key])
    return name, found


def _with_folder(given: dict[str, Any]) -> dict[str, Any]:
    """Settings of a table with the folder that its paths start from: by default its own."""
    if given.get("root") or not isinstance(table := given.get("table"), str):
        return given
    return given | {"root": os.path.dirname(os.path.abspath(os.path.expanduser(table)))}


def _place(folder: str) -> str:
    """A folder's absolute path without links; text that is not a path stays as it is."""
    if folder.startswith("hf-hub:"):
        return folder
    try:
        return os.path.realpath(Path(folder).expanduser())
    except (ValueError, OSError, RuntimeError):
        return folder


def described(data: Mapping[str, Any]) -> str:
    """Description of the images of a recipe's ``data``, such as ``ImageFolder root=/a``."""
    name, settings = images_of(data)
    return " ".join([name, *(f"{key}={value}" for key, value in settings.items())])


def same_images(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """True if two recipes' ``data`` mean the same images; a setting that one leaves open fits."""
    (name, first), (other_name, second) = images_of(one), images_of(other)
    return name == other_name and all(first[k] == second[k] for k in first.keys() & second.keys())


def same_parts(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """True if two recipes' ``data`` mean the same images, parts and classes.

    A setting that one leaves open fits.
    """
    first, second = (data.get("init_args") or {} for data in (one, other))
    shared = first.keys() & second.keys() - PLACES - SPEED
    return same_images(one, other) and all(first[key] == second[key] for key in shared)


def _agreed(run: Path, held: dict[str, Any], own: dict[str, Any]) -> bool:
    """True if a run's images are a folder, as the recipe's, on which all of its runs agree."""
    if images_of(held)[0] != images_of(own)[0] or "root" not in images_of(held)[1]:
        return False
    finished = [file.parent for file in run.parent.glob("*/metrics.json")]
    return all(same_images(read(one / "recipe.yaml")["data"], held) for one in finished)


def foreign_images(run: Path, name: str) -> str:
    """Say how a run's training images differ from those of the shipped recipe of its name.

    A folder of images lies where its owner keeps it: any place is the recipe's own while all
    finished runs of the recipe agree on it.

    Args:
        run: its directory.
        name: name of the recipe.

    Returns:
        ``was trained on MNIST``; empty where they are the same, or where no such recipe is shipped.
    """
    if name not in shipped():
        return ""
    try:
        own, held = resolve([name]).config, read(run / "recipe.yaml")
        if not same_images(held["data"], own["data"]) and not _agreed(
            run, held["data"], own["data"]
        ):
            return f"was trained on {described(held['data'])}"
        limit = (held["data"].get("init_args") or {}).get("limit")
        if limit != (own["data"].get("init_args") or {}).get("limit"):
            return f"was trained with data.limit={limit}"
        trainer, usual = (one.get("trainer") or {} for one in (held, own))
        for key in LIMITS:
            if trainer.get(key) != usual.get(key):
                return f"was trained with trainer.{key}={trainer.get(key)}"
    except (RecipeError, KeyError, AttributeError, TypeError):
        return "has a damaged recipe.yaml"
    return ""
