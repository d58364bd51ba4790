"""Recipes that name a class, found in their text: resolving all of them takes too long."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from genlab.errors import RecipeError
from genlab.files import text_of
from genlab.recipes import class_names, files

GROUPS = ("model", "data", "trainer")


def recipes_with(name: str) -> list[str]:
    """Names of the shipped recipes whose method, data or callbacks are of a class.

    Args:
        name: short name, or class path of a class that is neither genlab's nor a plugin's.
    """
    return [recipe for recipe, file in files.shipped().items() if name in named(file)]


@cache
def named(file: Path) -> frozenset[str]:
    """Classes that a recipe names, with those that it inherits from what it extends."""
    return frozenset(name for names in _groups(file).values() for name in names)


def class_of(file: Path, group: str) -> str:
    """Name of the class of a recipe's ``model`` or ``data``, without its module; empty if none."""
    return next(iter(_groups(file).get(group, [])), "").rpartition(".")[2]


def _groups(file: Path, below: tuple[Path, ...] = ()) -> dict[str, list[str]]:
    """Classes under each group of a recipe, in order; what does not exist adds none."""
    try:
        text = files.split(text_of(file))[1]
    except (OSError, UnicodeDecodeError):
        return {}
    parts = (part.partition(":") for part in re.split(r"^(?=[^\s#])", text, flags=re.M))
    blocks = {key: block for key, _, block in parts}
    own = {group: _own(blocks.get(group, "")) for group in GROUPS}
    above = _above(file, text)
    if above is None or above in (*below, file):
        return own
    inherited = _groups(above, (*below, file))
    appends = own["trainer"] and not re.search(r"^\s+callbacks:|[{,]\s*callbacks:", text, re.M)
    if appends:
        own["trainer"] += inherited.get("trainer", [])
    return {group: own[group] or inherited.get(group, []) for group in GROUPS}


def _own(block: str) -> list[str]:
    """Classes that a recipe's own text names under a group."""
    found = re.findall(r"class_path:\s*([\w.]+)", block)
    found += re.findall(r"^\s+-\s+([\w.]+)\s*(?:#.*)?$", block, re.M)  # callbacks in short form
    found += re.findall(r"\A[ \t]+([\w.]+)\s*(?:#.*)?$", block, re.M)
    return [class_names.short(path) if "." in path else path for path in found]


def _above(file: Path, text: str) -> Path | None:
    """The file that a recipe extends."""
    base = re.search(r"^config:\s*(\S+)", text, re.M)
    if base is None:
        return None
    beside = (file.parent / base[1]).resolve()
    try:
        return beside if beside.is_file() else files.find(base[1]).resolve()
    except RecipeError:
        return None
