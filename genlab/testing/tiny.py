"""A recipe at tiny size: the same method, class by class, in networks of a few hundred weights."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Sequence
from typing import Any

import timm

from genlab import recipes
from genlab.networks.encoders import naming
from genlab.recipes import Recipe

WORLDS = (2, 3)  # numbers of processes that are compared with one
LEAST = 42  # images of a global batch
BATCHES = 5  # of an epoch
HELD_OUT = 43  # validation images; no number of processes divides them
LARGEST: dict[str, float] = {
    "width": 8, "hidden": 8, "latent_dim": 4, "num_codes": 16, "code_dim": 4, "depth": 1,
    "queue_size": 300, "bn_splits": 1, "couplings": 3, "steps": 2, "blocks": 1,
    "residual_blocks": 1, "n_critic": 2, "threshold": 0.12, "k": 5, "num_heads": 2,
    "embed_dim": 16, "ema_decay": 0.9, "decay": 0.9,
}  # fmt: skip
POOLING = ("class_token", "global_pool", "fc_norm")  # of a ViT, kept
WIDEST = 12  # of layers listed in `*_dims`
CNN: dict[str, Any] = {"encoder": "small_cnn", "encoder_kwargs": {"width": 4}}
VIT: dict[str, Any] = {
    "encoder": "vit_tiny_patch16_224",
    "encoder_kwargs": {"embed_dim": 16, "depth": 1, "num_heads": 2, "patch_size": 2},
}
KEPT = (
    "views", "augment", "strong", "unlabeled_ratio", "exclude_labeled", "sampling", "binarize",
)  # fmt: skip
COLOURED = "genlab.testing.coloured.ColouredDigits"
ASKED = "law_images"
SGD: dict[str, Any] = {"name": "torch.sgd", "lr": 1e-3, "momentum": 0.9}


def smallest(package: str = "genlab") -> dict[str, str | None]:
    """For every method of a package, its recipe on digits, else its first; None without one.

    Methods are found by looking into ``methods/``, and recipes by the module's name.
    """
    names = sorted(recipes.shipped())
    found: dict[str, str | None] = {}
    for kind, path in sorted(recipes.classes("methods").items()):
        if path.partition(".")[0] != package:
            continue
        module = path.split(".")[-2]
        own = [name for name in names if name.split("/")[-2:-1] == [module]]
        digits = [name for name in own if name.endswith("/digits")]
        found[kind] = next(iter([*digits, *own]), None)
    return found


def tiny(recipe: Recipe, keep_own: bool = True, worlds: Sequence[int] = WORLDS) -> Recipe:
    """The recipe with small numbers in place of large ones, and digits in place of large images.

    Classes, options and training tricks stay as they are; encoders of timm and of genlab become
    the smallest of their kind. Weights of other runs are left out.

    Args:
        recipe: a resolved one; not changed.
        keep_own: an encoder of the user's own stays.
        worlds: numbers of processes that share a batch.
    """
    small = copy.deepcopy(recipe)
    small.config["data"] = _data(small, worlds)
    model = small.config["model"]
    takes = _parameters(model["class_path"])
    given = model.get("init_args") or {}
    model["init_args"] = _capped(
        {k: v for k, v in _defaults(takes).items() if v is not None} | given
    )
    if not (keep_own and own_encoder(str(given.get("encoder") or ""))):
        _encoder(model["init_args"], takes, given)
    if "pretrained" in takes:
        model["init_args"]["pretrained"] = False
    return small


def plain(recipe: Recipe) -> Recipe:
    """The recipe with steps along the gradient itself, which hide no factor before it."""
    changed = copy.deepcopy(recipe)
    if "optimizer" in _parameters(changed.config["model"]["class_path"]):
        changed.config["model"]["init_args"]["optimizer"] = dict(SGD)
    return changed


def _data(recipe: Recipe, worlds: Sequence[int]) -> dict[str, Any]:
    """Digits for image data of genlab; anybody else's own, of few images.

    A method's class attribute ``law_images``, (C, H), asks for coloured ones of that size.
    """
    path, given = recipe.config["data"]["class_path"], recipe.arguments("data")
    shared = math.lcm(*worlds)
    batch = _multiple(LEAST, math.lcm(3, shared))  # a law accumulates three
    sizes: dict[str, Any] = {"batch_size": batch, "val_size": HELD_OUT, "limit": BATCHES * batch}
    if given.get("labels") is not None:
        few = {"labels": 40, "batch_size": shared, "steps_per_epoch": BATCHES}
        sizes |= few | {"unlabeled_ratio": min(7, given.get("unlabeled_ratio", 0))}
    known = recipes.classes("data")
    if path == known.get("Toys"):
        return {"class_path": path, "init_args": given | sizes | {"size": 1000, "held_out": 100}}
    if path in known.values() and path.startswith("genlab."):
        kept = {name: given[name] for name in KEPT if name in given}
        asked = getattr(recipes.load_class(recipe.config["model"]["class_path"], object), ASKED, ())
        if asked:
            return {"class_path": COLOURED, "init_args": kept | sizes | {"resize": asked[1]}}
        return {"class_path": known["Digits"], "init_args": kept | sizes}
    takes = _parameters(path)
    any_name = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    sizes = {name: size for name, size in sizes.items() if name in takes or any_name}
    return {"class_path": path, "init_args": given | sizes}


def _multiple(least: int, unit: int) -> int:
    """The smallest multiple of ``unit`` that is at least ``least``."""
    return -(-least // unit) * unit


def _encoder(arguments: dict[str, Any], takes: Any, given: dict[str, Any]) -> None:
    if "encoder" not in takes or "encoder_kwargs" not in takes:
        return
    name = str(given.get("encoder") or takes["encoder"].default or "")
    if name == "mlp":  # small by its `hidden_dims`
        return
    if not name.startswith(("vit", "deit")):
        arguments |= CNN
        return
    kept = {k: v for k, v in (given.get("encoder_kwargs") or {}).items() if k in POOLING}
    arguments |= VIT | {"encoder_kwargs": VIT["encoder_kwargs"] | kept}


def own_encoder(name: str) -> bool:
    """True for the name of a backbone that is neither timm's nor genlab's."""
    if not name:
        return False
    try:
        named = naming.named_class(name)
    except ValueError:  # building the method says what is wrong
        return False
    made: Any = timm.model_entrypoint(name.partition(".")[0]) if named is None else named.kind
    return str(made.__module__).partition(".")[0] not in ("timm", "genlab")


def _capped(value: Any, name: str = "") -> Any:
    if isinstance(value, dict):
        return {key: _capped(inner, key) for key, inner in value.items() if name != "optimizer"}
    if name.endswith("_dims") and isinstance(value, list | tuple):
        return [min(int(width), WIDEST) for width in value]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    limit = _limit(name) if number else None
    return value if limit is None else min(value, type(value)(limit))


def _limit(name: str) -> float | None:
    """The largest value of an argument, by its name or by the end of it (``decoder_depth``)."""
    found = (limit for key, limit in LARGEST.items() if f"_{name}".endswith(f"_{key}"))
    return min(found, default=None)


def _parameters(class_path: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(recipes.load_class(class_path, object)).parameters)


def _defaults(takes: dict[str, inspect.Parameter]) -> dict[str, Any]:
    return {
        name: parameter.default
        for name, parameter in takes.items()
        if _limit(name) is not None or name.endswith("_dims")
        if parameter.default not in (parameter.empty, None)
    }
