"""Fingerprints of runs: two runs of one fingerprint and seed are the same run. No torch.

A fingerprint is a hash of the resolved recipe, of the code that it names (see `imports`) and of the
versions of torch and timm. Comments, heads, docstrings, folders, ``track`` and the seed are not in
it.

A run's is that of its own recipe.yaml, which spells out defaults and what the data fill in, see
`of_run`: training a recipe, resuming that run and training its recipe.yaml give the same one. The
recipe as it was written has another.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from genlab.recipes import class_names
from genlab.recipes.imports import Closure
from genlab.recipes.resolution import Recipe, merge, shortened

LEFT_OUT = ("seed_everything", "track")
PLACES = ("root", "unlabeled_root", "default_root_dir", "download")  # of data and runs
MOST_BYTES = 64 * 2**20  # of a file that is hashed by its content


def fingerprint(recipe: Recipe) -> str:
    """The fingerprint of a run of a recipe, as hexadecimal digits.

    Args:
        recipe: as `resolve` gives it, before data has filled in numbers of classes and the like.
    """
    return of_parts(recipe, Closure(classes(recipe)).digests)


def of_run(recipe: Recipe, parents: Mapping[str, Any]) -> Recipe:
    """The recipe of a run in the form that is hashed, with parents by their content.

    Args:
        recipe: as a run's recipe.yaml has it.
        parents: facts of `checkpoints.parents` by argument of the method, as run.json keeps them:
            a parent that has moved, or is gone, changes nothing.
    """
    hashed = {
        name: f"sha256 {facts['sha256']}"
        for name, facts in parents.items()
        if isinstance(facts, dict) and "sha256" in facts
    }
    return replace(recipe, config=merge(recipe.config, {"model": {"init_args": hashed}}))


def of_parts(recipe: Recipe, code: dict[str, str]) -> str:
    """The fingerprint of a recipe whose imports have been followed.

    Args:
        recipe: as `resolve` gives it.
        code: digests of the modules by their names.
    """
    parts = {"settings": settings(recipe), "code": code, "versions": versions()}
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def versions() -> dict[str, str]:
    """Versions of the libraries that decide what a training computes, without importing them."""
    return {name: _version(name) for name in ("torch", "timm")}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def classes(recipe: Recipe) -> set[str]:
    """Dotted names of the classes that a recipe names, a backbone's too."""
    found = {name for name in class_names.named(recipe.config) if "." in name}
    encoder = str(recipe.arguments("model").get("encoder"))
    own = class_names.classes("networks").get(encoder, encoder)
    return found | ({own} if re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)+", own) else set())


def settings(recipe: Recipe) -> Any:
    """Settings of a recipe in one form, without folders, ``track`` and the seed."""
    kept = {key: value for key, value in recipe.config.items() if key not in LEFT_OUT}
    return _plain(shortened(kept))


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _plain(node[key]) for key in node if key not in PLACES}
    if isinstance(node, list | tuple):
        return [_plain(item) for item in node]
    return _without_place(node) if isinstance(node, str) else node


def _without_place(text: str) -> str:
    """A text; for a path to a file or folder what is there, wherever it lies."""
    path = Path(text)
    if not (len(path.parts) > 1 or path.suffix) or "\0" in text or not os.path.exists(text):
        return text
    if os.path.isfile(path) and path.stat().st_size <= MOST_BYTES:
        return f"file {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return f"{path.name} {path.stat().st_size if os.path.isfile(path) else 'folder'}"
