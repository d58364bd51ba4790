"""Settings of a recipe in one form, whatever way they are written. No torch.

Left out are ``track``, the seed, `SHOWN` settings and `DRAWING` callbacks, which change nothing
that is computed, arguments equal to their defaults, and where files lie.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genlab.recipes import defaults
from genlab.recipes.class_names import PACKAGES, classes, short
from genlab.recipes.contents import Contents
from genlab.recipes.resolution import shortened
from genlab.recipes.same_data import DEFINING

LEFT_OUT = ("seed_everything", "track")
SHOWN = (  # and where it is written
    "default_root_dir", "enable_model_summary", "enable_progress_bar", "log_every_n_steps",
    "logger", "profiler",
)  # fmt: skip
DRAWING = ("ConfusionMatrix", "Film", "LossAgainstProbe", "Pictures", "PlanePictures",
           "RetrievalPictures", "SimilarityHistogram", "TaskPictures", "TokenPictures",
           "ViewPictures")  # fmt: skip
DOWNLOAD = "download"
FOLDERS = ("root", "unlabeled_root")  # of images
RATES = ("lr", "weight_decay", "momentum", "final_lr")  # of an optimiser, floats


def plain(config: Mapping[str, Any], contents: Contents) -> dict[str, Any]:
    """The settings that decide what a training computes.

    Args:
        config: mapping of a resolved recipe.
        contents: reads what lies at paths.
    """
    found = {key: value for key, value in config.items() if key not in LEFT_OUT}
    for group, package in PACKAGES.items():
        if isinstance(found.get(group), dict):
            found[group] = _of_class(package, found[group])
    if isinstance(found.get("model"), dict):
        found["model"] = _with_rates(found["model"])
    if isinstance(found.get("data"), dict):
        found["data"] = _with_folders(found["data"], contents)
    if isinstance(found.get("trainer"), dict):
        found["trainer"] = _trainer(found["trainer"])
    written: dict[str, Any] = _written(shortened(found), contents)
    return written


def _of_class(package: str, node: dict[str, Any]) -> dict[str, Any]:
    """A class and those of its arguments that its defaults do not give."""
    given = node.get("init_args")
    if not isinstance(given, dict):
        return node | {"init_args": {}} if given is None else node
    return node | {"init_args": defaults.without(package, str(node.get("class_path")), given)}


def _with_rates(model: dict[str, Any]) -> dict[str, Any]:
    given = model.get("init_args")
    optimizer = given.get("optimizer") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(optimizer, dict):
        return model
    rates = {k: float(optimizer[k]) for k in RATES if type(optimizer.get(k)) is int}
    return model | {"init_args": given | {"optimizer": optimizer | rates}}


def _with_folders(data: dict[str, Any], contents: Contents) -> dict[str, Any]:
    """Data with folders of images by their listings; those of downloads may lie anywhere."""
    given = data.get("init_args")
    if not isinstance(given, dict):
        return data
    path = str(data.get("class_path"))
    own = classes("data").get(short(path), "").startswith("genlab.")
    counts = not own or "root" in DEFINING.get(short(path), ())
    kept = {key: value for key, value in given.items() if key not in (*FOLDERS, DOWNLOAD)}
    for key in FOLDERS:
        if counts and isinstance(given.get(key), str):
            address = "://" in given[key] or given[key].startswith("hf-hub:")
            kept[key] = given[key] if address else contents.listing(given[key])
    return data | {"init_args": {key: value for key, value in kept.items() if value != ""}}


def _trainer(given: dict[str, Any]) -> dict[str, Any]:
    """A trainer's settings without what is shown and drawn; None is its default everywhere."""
    kept = {key: value for key, value in given.items() if key not in SHOWN and value is not None}
    if isinstance(kept.get("callbacks"), list):
        named = [one if isinstance(one, dict) else {"class_path": one} for one in kept["callbacks"]]
        drawing = {classes("callbacks").get(name) for name in DRAWING} | {*DRAWING}
        doing = [one for one in named if one.get("class_path") not in drawing]
        kept["callbacks"] = [_of_class("callbacks", one) for one in doing]
    return {key: value for key, value in kept.items() if value != [] or key != "callbacks"}


def _written(node: Any, contents: Contents) -> Any:
    if isinstance(node, dict):
        return {str(key): _written(value, contents) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_written(item, contents) for item in node]
    return contents.of_text(node) if isinstance(node, str) else node
