"""Classes that a recipe may name and their parameters, read from source without an import."""

from __future__ import annotations

import ast
import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from genlab.errors import RecipeError, nearest
from genlab.recipes import plugins
from genlab.recipes.files import MOST_VALUES

PACKAGES = {"model": "methods", "data": "data"}
ROOTS = {
    "methods": "LightningModule",
    "data": "LightningDataModule",
    "callbacks": "Callback",
    "networks": "Module",
}
KIN = {"callbacks": ("Checkpoint",), "networks": ("Sequential",)}  # bases that descend from a root
RENAMED = {"Plane": "PlanePictures", "PlaneFigures": "PlaneMetrics"}  # of 0.1.0's first layout


def _definitions(package: str) -> dict[str, tuple[str, ast.ClassDef]]:
    """Public classes of a package of genlab and of plugins: name -> (module, syntax tree)."""
    return _read(package, tuple(plugins.declared().values()))


@cache
def _read(package: str, others: tuple[plugins.Plugin, ...]) -> dict[str, tuple[str, ast.ClassDef]]:
    folder = Path(__file__).parents[1] / package
    modules = {f"genlab.{package}.{file.stem}": file for file in sorted(folder.glob("*.py"))}
    for plugin in others:
        modules |= plugins.files(plugin, package)
    found: dict[str, tuple[str, ast.ClassDef]] = {}
    for module, file in modules.items():
        for node in _tree(file, module).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, (module, node))
    return found


def _tree(file: Path, module: str) -> ast.Module:
    try:
        return parsed(file.read_bytes())
    except SyntaxError as error:
        where = f"{file}, line {error.lineno}"
        raise RecipeError(f"{module} is not Python: {error.msg}", where) from None
    except (OSError, ValueError) as error:
        raise RecipeError(f"{module} cannot be read: {error}", str(file)) from None


@cache
def parsed(content: bytes) -> ast.Module:
    """Syntax tree of a module's text; each text is parsed once.

    Raises:
        SyntaxError, ValueError: it is not Python.
    """
    return ast.parse(content)


def _bases(package: str, name: str) -> list[str]:
    """Names of all classes that a class of ``package`` descends from, nearest first."""
    if name not in _definitions(package):
        return []
    bases = _definitions(package)[name][1].bases
    direct = [ast.unparse(base).rpartition(".")[2].partition("[")[0] for base in bases]
    return direct + [far for base in direct if base != name for far in _bases(package, base)]


def classes(package: str) -> dict[str, str]:
    """Short name -> class path of every method, data module, callback or network there is.

    Genlab's own come first; a plugin's class of the same name is reached by its class path.
    """
    return _named(package, tuple(plugins.declared().values()))


@cache
def _named(package: str, others: tuple[plugins.Plugin, ...]) -> dict[str, str]:
    found = _read(package, others)
    kinds = {ROOTS[package], *KIN.get(package, ())}
    return {
        n: f"{module}.{n}"
        for n, (module, _) in found.items()
        if kinds & set(_bases(package, n)) and not module.rpartition(".")[2].startswith("_")
    }


def current(path: str) -> str:
    """Today's class path of a class of genlab that has moved or is renamed; others as they are."""
    parts = path.split(".")
    if parts[0] != "genlab" or len(parts) < 3 or parts[1] not in ROOTS:
        return path
    own = classes(parts[1]).get(RENAMED.get(parts[-1], parts[-1]), "")
    return own if own.startswith("genlab.") else path


def short(path: str) -> str:
    """The short name of a class of genlab or of a plugin; other class paths as they are."""
    name = path.rpartition(".")[2]
    return name if any(classes(package).get(name) == path for package in ROOTS) else path


def class_path(group: str, name: str) -> str:
    """The full class path of a short name; dotted paths outside genlab pass as they are.

    Raises:
        RecipeError: no such class.
    """
    known, name = classes(PACKAGES[group]), current(name)
    if name in known:
        return known[name]
    if name in known.values() or ("." in name and not name.startswith("genlab.")):
        return name
    raise RecipeError(f"{group}: no class {name}", hint=nearest(name.rpartition(".")[2], known))


def descends(group: str, path: str, base: str) -> bool:
    """True if a class is, or descends from, genlab's class of a short name."""
    package, name = PACKAGES[group], path.rpartition(".")[2]
    return classes(package).get(name) == path and base in (name, *_bases(package, name))


def owners(package: str, path: str) -> list[tuple[str, ast.ClassDef]]:
    """A class and its known bases, nearest first, with their modules; empty for unknown classes.

    Args:
        package: one of `ROOTS`.
        path: class path.
    """
    name, known = path.rpartition(".")[2], _definitions(package)
    if classes(package).get(name) != path:
        return []
    return [known[one] for one in dict.fromkeys((name, *_bases(package, name))) if one in known]


def parameters(group: str, path: str) -> set[str] | None:
    """Names of the constructor's parameters, None when they cannot be told without importing."""
    package, name = PACKAGES[group], path.rpartition(".")[2]
    if classes(package).get(name) != path:
        return None
    names: set[str] = set()
    for owner in (name, *_bases(package, name)):
        if owner not in _definitions(package):
            if owner == ROOTS[package]:
                return names
            if path.startswith("genlab."):
                continue  # a mix-in without arguments
            return None
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


def named(node: Any) -> set[str]:
    """Class names anywhere in a recipe's mapping: in long and in short form, and inside strings.

    The parser of arguments reads strings as YAML, so a string may hold a mapping.

    Raises:
        RecipeError: a string holds aliases in a circle, or more values than a recipe may have.
    """
    found: set[str] = set()
    waiting, seen = [node], 0
    while waiting:
        one, seen = waiting.pop(), seen + 1
        if seen > MOST_VALUES:
            raise RecipeError(f"aliases in a circle, or more than {MOST_VALUES:,} values")
        if isinstance(one, str):
            written = _written(one)
            waiting += [] if written is None else [written]
        elif isinstance(one, list | tuple):
            waiting += one
        elif isinstance(one, dict):
            found |= _named_in(one)
            waiting += one.values()
    return found


def _named_in(node: dict[Any, Any]) -> set[str]:
    """Class names among a mapping's own values."""
    found = {str(node["class_path"])} if node.get("class_path") is not None else set()
    for key, value in node.items():
        texts = [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, str)]
        if str(key).rstrip("+") in ("callbacks", "plugins"):
            found |= set(texts)
        if str(key) in ("profiler", "logger", "strategy", "accelerator"):
            found |= {item for item in texts if "." in item}
    return found


def _written(text: str) -> Any:
    """The mapping or list that a string holds; None for any other string.

    Raises:
        RecipeError: it is nested so deeply that nobody can tell.
    """
    if ":" not in text:  # no mapping without one
        return None
    for read in (yaml.safe_load, json.loads):
        try:
            content = read(text)
        except RecursionError:
            raise RecipeError(f"nested too deeply: {text[:40]} ...") from None
        except (ValueError, LookupError, yaml.YAMLError, AttributeError, TypeError):
            continue
        if isinstance(content, dict | list):
            return content
    return None
