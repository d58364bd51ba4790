"""Values of a key in a recipe, and the file that sets each."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genlab import recipes
from genlab.recipes import Recipe
from genlab.recipes.class_names import PACKAGES
from genlab.recipes.resolution import shortened


@dataclass(frozen=True)
class Value:
    """Value of a key in a recipe.

    Args:
        recipe: name of the recipe.
        known: True if the recipe sets the key.
        value: the value, where it does.
        origin: file that sets it, or ``command line``.
    """

    recipe: str
    known: bool
    value: Any = None
    origin: str = ""


def named(recipe: Recipe) -> dict[str, str]:
    """Short names of a recipe's method and data, and names of its encoder and its optimiser."""
    found = {}
    for group in PACKAGES:
        if path := (recipe.config.get(group) or {}).get("class_path"):
            found[group] = recipes.short(str(path))
    if "model" in found:
        given = recipe.arguments("model")
        found["encoder"] = str(given.get("encoder") or "")
        optimizer = given.get("optimizer")
        found["optimizer"] = (
            str((optimizer or {}).get("name", "")) if isinstance(optimizer, dict) else ""
        )
    return found


def value_of(recipe: Recipe, key: str) -> Value:
    """The value of a key in a recipe.

    Args:
        recipe: a resolved one.
        key: in its short form, see `keys.Meaning`.
    """
    group, *inner = key.split(".")
    node: Any = recipe.config
    path = [group]
    if group in PACKAGES and inner and inner[0] not in ("class_path", "init_args"):
        path.append("init_args")
    if key.startswith("trainer.callbacks."):
        return _of_callback(recipe, inner[1:])
    path += inner
    for part in path:
        if not isinstance(node, dict) or part not in node:
            return Value(recipe.name, False)
        node = node[part]
    node = recipes.short(node) if path[-1] == "class_path" else node
    shown = recipes.without_credentials(shortened(node))
    return Value(recipe.name, True, shown, place(recipe.origin(".".join(path))))


def _of_callback(recipe: Recipe, inner: list[str]) -> Value:
    """The value of an argument of a callback; True for a callback itself."""
    given = (recipe.config.get("trainer") or {}).get("callbacks") or []
    for one in given if isinstance(given, list) else []:
        if isinstance(one, dict) and recipes.short(str(one.get("class_path"))) == inner[0]:
            arguments = one.get("init_args") or {}
            origin = place(recipe.origin("trainer.callbacks"))
            if not inner[1:]:
                return Value(recipe.name, True, True, origin)
            if inner[-1] in arguments:
                return Value(recipe.name, True, arguments[inner[-1]], origin)
    return Value(recipe.name, False)


def place(origin: str) -> str:
    """A file as a user finds it: below ``recipes/``, else from the working directory."""
    file = Path(origin)
    if not file.is_absolute():
        return origin
    root = recipes.root().resolve()
    if file.is_relative_to(root):
        return f"recipes/{file.relative_to(root).as_posix()}"
    near = os.path.relpath(file)
    return origin if near.startswith("..") else near
