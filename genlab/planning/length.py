"""Length of a training from its recipe, mostly without its data: images, epochs and steps."""

from __future__ import annotations

import inspect
import math
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from genlab import recipes
from genlab.data.binary_density import SETS
from genlab.errors import InputError, first_line
from genlab.recipes import Recipe

SIZES = {  # training images of the sets as they are given out
    "MNIST": 60_000, "FashionMNIST": 60_000, "CIFAR10": 50_000, "CIFAR100": 50_000,
    "SVHN": 73_257, "STL10": 5_000, "Digits": 1_497, "ImageNet": 1_281_167,
    "TinyImageNet": 100_000, "RemappedDigits": 1_497, "RemappedMNIST": 60_000,
}  # fmt: skip
DRAWN = {"BSDS300": "patches", "Toys": "size"}  # sets whose size is an argument
DIVIDED = {"FreyFaces": (1_565, 200)}  # training and validation images of a given division
READ = ("Omniglot",)  # whose images depend on the alphabets that are held out
UNLABELED = 100_000  # STL-10's
TITLES = {"ImageNet-1k": SIZES["ImageNet"]}  # that a recipe's title may name
PARTS = ("test_size", "val_size")  # in the order in which they are split off
ENDLESS = -1  # of Lightning's limits


@dataclass(frozen=True)
class Length:
    """Length of a training.

    Args:
        images: training images; None where nobody knows.
        source: origin of that number.
        epoch: optimiser steps of an epoch; None where unknown.
        steps: optimiser steps of the training; None where unknown or endless.
        limit: the setting that ends it.
    """

    images: int | None
    source: str
    epoch: float | None
    steps: int | None
    limit: str


def length(recipe: Recipe, images: int | None = None, batches: int = 1) -> Length:
    """Length of a recipe's training.

    Args:
        recipe: a resolved one.
        images: number of training images, validation left out; None for what is known of the data.
        batches: global batches of an optimiser step: several of a GAN.
    """
    given = arguments(recipe)
    count, source = (images, "--images") if images is not None else training_images(recipe)
    if given.get("labels") is not None:
        epoch: int | None = int(given.get("steps_per_epoch") or 0)
    else:
        epoch = None if count is None else max(1, count // int(given["batch_size"]))
    epoch = _limited(recipe, epoch)
    per_epoch = None if epoch is None else epoch / batches
    steps, limit = _steps(recipe.config.get("trainer") or {}, per_epoch)
    return Length(count, source, per_epoch, steps, limit)


def arguments(recipe: Recipe) -> dict[str, Any]:
    """Every argument of the recipe's data with its value, defaults included."""
    defaults: dict[str, Any] = {}
    for owner in reversed(_data(recipe).__mro__):
        if "__init__" in vars(owner):
            found = inspect.signature(owner.__init__).parameters.values()  # type: ignore[misc]
            defaults |= {p.name: p.default for p in found if p.default is not p.empty}
    return defaults | recipe.arguments("data")


def _data(recipe: Recipe) -> type:
    return recipes.load_class(str(recipe.config["data"]["class_path"]), object)


def training_images(recipe: Recipe) -> tuple[int | None, str]:
    """Number of images that an epoch sees, and where the number comes from."""
    given, name = arguments(recipe), _data(recipe).__name__
    if name in DRAWN:
        return _limit(int(given[DRAWN[name]]), given), f"data.{DRAWN[name]}"
    if name == "BinaryDensity":
        kind = str(given["kind"])
        return (_limit(SETS[kind].train, given), kind) if kind in SETS else (None, "unknown kind")
    if name in DIVIDED:
        return _limit(DIVIDED[name][0], given), name
    if name in SIZES:
        whole = SIZES[name] + UNLABELED * (name == "STL10" and bool(given["unlabeled"]))
        return _limit(_without(whole, given, ["val_size"]), given), name
    if _is_here(given) or name in READ:
        return _read(recipe, given)
    title = next((title for title in TITLES if title in _title(recipe)), None)
    if title is not None:
        parts = [part for part in PARTS if part in recipe.arguments("data")]
        whole = _without(TITLES[title], given, parts)
        return _limit(whole, given), f"{title}, which the recipe's title names"
    return None, f"unknown without the images of {given.get('root') or name}: --images N"


def validation_images(recipe: Recipe, training: int | None) -> int | None:
    """Number of images that validation sees; None where unknown.

    Args:
        recipe: a resolved one.
        training: number of training images; None where unknown.
    """
    given = arguments(recipe)
    if "held_out" in given:
        return int(given["held_out"])
    if _data(recipe).__name__ == "BinaryDensity" and given["kind"] in SETS:
        return SETS[given["kind"]].val
    if _data(recipe).__name__ in DIVIDED:
        return DIVIDED[_data(recipe).__name__][1]
    size = 1 / int(given["folds"]) if given.get("folds") else given.get("val_size") or 0
    if size >= 1 or not size:
        return int(size)
    return None if training is None else max(1, round(training * size / (1 - size)))


def _title(recipe: Recipe) -> str:
    with suppress(InputError, OSError):
        return recipes.head(recipes.find(recipe.name)).title
    return ""


def _is_here(given: dict[str, Any]) -> bool:
    """True if a path among the arguments leads to something."""
    paths = [given.get(name) for name in ("root", "table", "images", "vectors")]
    return any(os.path.exists(os.path.expanduser(path)) for path in paths if isinstance(path, str))


def _read(recipe: Recipe, given: dict[str, Any]) -> tuple[int | None, str]:
    """Number of images by the data itself, of which nothing is decoded where they are files."""
    try:
        data: Any = _data(recipe)(**recipe.arguments("data"))
        if not hasattr(data, "listing"):
            return len(data.splits()["train"]), "the data"
        parts = data.listing()[1]
    except (InputError, ValueError, OSError, TypeError) as error:
        return None, f"the data cannot be read ({first_line(error)}): --images N"
    split_off = [part for part in PARTS if part.removesuffix("_size") not in parts]
    return _limit(_without(len(parts["train"].labels), given, split_off), given), "the data"


def _without(whole: int, given: dict[str, Any], parts: list[str]) -> int:
    """Images that are left when a test and a validation part are split off.

    Args:
        whole: images before.
        given: all arguments of the data.
        parts: those of ``test_size`` and ``val_size`` that take some away.
    """
    for name in parts:
        size = given.get(name) or 0
        if name == "val_size" and given.get("folds"):
            size = 1 / int(given["folds"])
        whole -= round(size * whole) if size < 1 else int(size)
    return max(whole, 1)


def _limit(count: int, given: dict[str, Any]) -> int:
    most = given.get("limit")
    if most is None:
        return count
    return min(count, round(most * count) if most < 1 else int(most))


def _limited(recipe: Recipe, epoch: int | None) -> int | None:
    """Steps of an epoch under ``trainer.limit_train_batches``."""
    trainer = recipe.config.get("trainer") or {}
    most, parts = trainer.get("limit_train_batches"), int(trainer.get("accumulate_grad_batches", 1))
    if most is None or epoch is None:
        return epoch
    share = math.ceil(most / parts) if isinstance(most, int) else int(most * epoch)
    return max(1, min(epoch, share))


def _steps(trainer: dict[str, Any], epoch: float | None) -> tuple[int | None, str]:
    """Steps of the training, and the limit that ends it first."""
    epochs, most = trainer.get("max_epochs"), trainer.get("max_steps", ENDLESS)
    found: dict[str, int] = {}
    if most is not None and most >= 0:
        found[f"trainer.max_steps={most}"] = int(most)
    if epochs is not None and epochs >= 0 and epoch is not None:
        found[f"trainer.max_epochs={epochs}"] = round(epochs * epoch)
    if found:
        limit = min(found, key=lambda name: found[name])
        return found[limit], limit
    endless = epochs is None or epochs < 0
    return None, "nothing ends it" if endless else f"trainer.max_epochs={epochs}"
