"""Plugins: packages of the user's own whose classes and recipes are named like genlab's.

A package is declared by ``[tool.genlab] plugins = ["mylab"]`` in the nearest pyproject.toml, by
the variable ``GENLAB_PLUGINS=mylab,other`` or by an entry point of the group ``genlab.plugins``.
Its folders ``methods``, ``data``, ``callbacks``, ``networks`` and ``recipes`` are read as text; its
code is imported when a class of it is asked for, see `genlab.recipes.doors`.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.machinery import PathFinder
from importlib.metadata import entry_points
from pathlib import Path

from genlab.errors import RecipeError

VARIABLE = "GENLAB_PLUGINS"
GROUP = "genlab.plugins"


@dataclass(frozen=True)
class Plugin:
    """A declared package.

    Args:
        name: the package's name.
        source: the file or variable that declares it.
        folder: the package's folder; None where it is not found.
        home: folder to look in when it is not installed.
    """

    name: str
    source: str
    folder: Path | None
    home: Path


def declared() -> dict[str, Plugin]:
    """Plugins by their names; none where ``GENLAB_PLUGINS`` is set and empty.

    Raises:
        RecipeError: a pyproject.toml that is not TOML, or a name that is not a package's.
    """
    return _declared(Path.cwd(), os.environ.get(VARIABLE))


@cache
def _declared(here: Path, variable: str | None) -> dict[str, Plugin]:
    if variable is not None and not variable.strip():
        return {}
    named = [(name, VARIABLE, here) for name in (variable or "").replace(",", " ").split()]
    if file := _declaration(here):
        named += [(name, str(file), file.parent) for name in _listed(file)]
    for point in entry_points(group=GROUP):
        source = f"{point.dist.name}'s entry points" if point.dist else "an entry point"
        named.append((point.value.partition(":")[0].partition(".")[0], source, here))
    found: dict[str, Plugin] = {}
    for name, source, home in named:
        if not str(name).isidentifier() or name == "genlab":
            raise RecipeError(f"plugin {name!r} is not the name of a package", source)
        found.setdefault(name, Plugin(name, source, _folder(name, home), home))
    return found


def _declaration(here: Path) -> Path | None:
    """The nearest pyproject.toml with a table ``tool.genlab``, up to the git root or home."""
    within = [here, *here.parents]
    end = next((k for k, f in enumerate(within) if (f / ".git").exists() or f == _home()), 0)
    for folder in within[: end + 1]:
        file = folder / "pyproject.toml"
        if file.is_file() and "genlab" in _tools(file):
            return file
    return None


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # no such user, no HOME
        return None


def _tools(file: Path) -> dict[str, dict[str, object]]:
    try:
        tools = tomllib.loads(file.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError) as error:
        raise RecipeError(f"{file} is not TOML: {error}", hint=f"{VARIABLE}= ignores it") from None
    return tools if isinstance(tools, dict) else {}


def _listed(file: Path) -> list[str]:
    table = _tools(file)["genlab"]
    names = table.get("plugins", []) if isinstance(table, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RecipeError("tool.genlab.plugins is not a list of package names", str(file))
    return names


def places(home: Path) -> list[str]:
    """Folders in which a project at ``home`` keeps its packages."""
    return [str(folder) for folder in (home, home / "src") if folder.is_dir()]


def _folder(name: str, home: Path) -> Path | None:
    """The folder of a package, installed or of a project; nothing is imported."""
    loaded = sys.modules.get(name)
    spec = loaded.__spec__ if loaded else importlib.util.find_spec(name)
    spec = spec or PathFinder.find_spec(name, places(home))
    locations = (spec.submodule_search_locations if spec else None) or []
    return next((Path(place) for place in locations if Path(place).is_dir()), None)


def files(plugin: Plugin, kind: str) -> dict[str, Path]:
    """Modules of one of a plugin's folders by their dotted names, or of its single file."""
    if plugin.folder is None:
        return {}
    single = plugin.folder / f"{kind}.py"
    if single.is_file():
        return {f"{plugin.name}.{kind}": single}
    inside = sorted((plugin.folder / kind).glob("[a-z]*.py"))
    return {f"{plugin.name}.{kind}.{file.stem}": file for file in inside}


def recipe_folders() -> list[Path]:
    """The plugins' folders of recipes, inside the package or next to it."""
    found = []
    for plugin in declared().values():
        if plugin.folder is not None:
            beside = plugin.folder.parent if plugin.folder.parent == plugin.home else None
            options = [plugin.folder / "recipes", *([beside / "recipes"] if beside else [])]
            found += [folder for folder in options if folder.is_dir()][:1]
    return found


def defined(plugin: Plugin, module: str) -> frozenset[str]:
    """Names of the classes that a plugin's module defines, read as text.

    Args:
        plugin: the package.
        module: dotted name, in the package.
    """
    inside = module.split(".")[1:]
    if plugin.folder is None or not all(part.isidentifier() for part in inside):
        return frozenset()
    place = plugin.folder.joinpath(*inside)
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    try:
        body = ast.parse(file.read_bytes()).body
    except (OSError, ValueError, SyntaxError):
        return frozenset()
    return frozenset(node.name for node in body if isinstance(node, ast.ClassDef))
