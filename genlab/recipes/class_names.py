"""Which classes a recipe may name and what they take, told from the source without importing it."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

from genlab.errors import RecipeError, nearest

PACKAGES = {"model": "methods", "data": "data"}
ROOTS = {"methods": "LightningModule", "data": "LightningDataModule", "callbacks": "Callback"}


@cache
def _definitions(package: str) -> dict[str, tuple[str, ast.ClassDef]]:
    """Public classes of ``genlab/<package>/*.py``: name -> (module, syntax tree)."""
    found = {}
    for file in sorted((Path(__file__).parents[1] / package).glob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name] = (f"genlab.{package}.{file.stem}", node)
    return found


def _bases(package: str, name: str) -> list[str]:
    """Names of all classes that a class of ``package`` descends from, nearest first."""
    if name not in _definitions(package):
        return []
    direct = [ast.unparse(base).rpartition(".")[2] for base in _definitions(package)[name][1].bases]
    return direct + [far for base in direct for far in _bases(package, base)]


@cache
def classes(package: str) -> dict[str, str]:
    """Short name -> class path of every method, data module or callback of genlab."""
    found = _definitions(package)
    kinds = {ROOTS[package], "Checkpoint"} if package == "callbacks" else {ROOTS[package]}
    return {
        n: f"{module}.{n}" for n, (module, _) in found.items() if kinds & set(_bases(package, n))
    }


def class_path(group: str, name: str) -> str:
    """The full class path of a short name; dotted paths outside genlab pass as they are.

    Raises:
        RecipeError: no such class.
    """
    known = classes(PACKAGES[group])
    if name in known:
        return known[name]
    if name in known.values() or ("." in name and not name.startswith("genlab.")):
        return name
    raise RecipeError(f"{group}: no class {name}", hint=nearest(name.rpartition(".")[2], known))


def parameters(group: str, path: str) -> set[str] | None:
    """Names of the constructor's parameters, None when they cannot be told without importing."""
    package, name = PACKAGES[group], path.rpartition(".")[2]
    if classes(package).get(name) != path:
        return None
    names: set[str] = set()
    for owner in (name, *_bases(package, name)):
        if owner not in _definitions(package):
            continue
        body = _definitions(package)[owner][1].body
        init = next(
            (n for n in body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None
        )
        if init is None:
            continue
        names |= {a.arg for a in (*init.args.args[1:], *init.args.kwonlyargs)}
        if init.args.kwarg is None:
            return names
    return names
