"""The one door for classes: a name becomes a class here and nowhere else.

A name that the user typed (a recipe file, the command line, Python) may be any importable class of
the right base. A name that comes from inside a file (a checkpoint, a run's recipe) is genlab's or a
declared plugin's, or the user trusts it by name. Whether a name comes from inside a file is known
to the code that opens the file: it works under `inside`, and every name that is looked up until it
is done, however deep, is treated so.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from genlab.errors import RecipeError, first_line, nearest
from genlab.process import is_first
from genlab.recipes import plugins
from genlab.recipes.class_names import ROOTS, classes, current, named

# callbacks of Lightning's whose arguments are numbers and words: they open and call nothing
HARMLESS = ("EarlyStopping", "GradientAccumulationScheduler", "LearningRateMonitor", "Timer")
_announced: set[str] = set()  # plugins whose declaring file has been printed


class _State(threading.local):
    """What holds now; a context variable would be lost in a context of Lightning's."""

    trusted: frozenset[str] | None = None
    allowed: frozenset[str] = frozenset()
    found: set[str] | None = None


_now = _State()


@contextmanager
def inside(trusted: Collection[str] | None = ()) -> Iterator[None]:
    """Names come from inside a file until the end of this block.

    Args:
        trusted: classes, or packages of them, that the file may name, with genlab's and plugins';
            None for names that the user typed.
    """
    before = _now.trusted
    _now.trusted = None if trusted is None else frozenset(trusted)
    try:
        yield
    finally:
        _now.trusted = before


@contextmanager
def allow(names: Collection[str]) -> Iterator[None]:
    """Classes, or packages of them, that every file may name until the end of this block."""
    before = _now.allowed
    _now.allowed = before | frozenset(names)
    try:
        yield
    finally:
        _now.allowed = before


@contextmanager
def recorded() -> Iterator[set[str]]:
    """The names of others' classes that are loaded until the end of this block."""
    before, found = _now.found, set[str]()
    _now.found = found
    try:
        yield found
    finally:
        _now.found = before


def allowed_now() -> frozenset[str]:
    """The names that every file may use, see `allow`."""
    return _now.allowed


def trusted_now() -> frozenset[str]:
    """The names that a file may use which is opened now: those of the file around it, if any."""
    return _now.trusted or frozenset()


def load_class(name: str, root: type, trusted: Collection[str] | None = None) -> type:
    """The class of a name; nothing is called before it is known to be one.

    Args:
        name: short name or class path.
        root: class that it must be or descend from.
        trusted: None where the user typed the name; else the names (classes or packages) that are
            allowed in addition to genlab's and plugins'. Within `inside` None means that block's.

    Raises:
        RecipeError: not importable, not a class, of another base, or not trusted.
    """
    path, limit = full_path(name, root), _now.trusted if trusted is None else trusted
    if not _is_trusted(name, limit or ()):  # a short name of Lightning's may be
        admit(path, limit)
    module, _, last = path.rpartition(".")
    found = getattr(_import(module, path), last, None)
    if not (isinstance(found, type) and issubclass(found, root)):
        if found is None:
            near = [n for n in dir(sys.modules[module]) if not n.startswith("_")]
            raise RecipeError(f"{module} has no class {last}", hint=nearest(last, near))
        raise RecipeError(f"{path} is not a {root.__name__}")
    if path.startswith("genlab."):  # a module also holds what it imports from elsewhere
        admit(f"{found.__module__}.{found.__qualname__}", limit)
    elif _now.found is not None and not _is_trusted(path, ()):
        _now.found.add(name)
    return found


def admit(name: str, trusted: Collection[str] | None) -> None:
    """Refuse a class path from inside a file that nobody trusts; None admits all.

    Raises:
        RecipeError: names the class and the option that allows it.
    """
    if trusted is None or _is_trusted(name, trusted):
        return
    shown = name if len(name) < 200 else f"{name[:200]}..."
    raise RecipeError(
        f"{shown} is refused: a file names it, and it is not a class of genlab or of a plugin",
        hint=f"if you know what it does and trust the file: --trust {shown}",
    )


def _is_trusted(name: str, trusted: Collection[str]) -> bool:
    """Whether a class is genlab's or a plugin's, or it or a package around it is trusted."""
    roots = (*trusted, *_now.allowed)
    return is_own(name) or any(name == root or name.startswith(f"{root}.") for root in roots)


def check(node: Any, trusted: Collection[str] | None) -> None:
    """Refuse the first class anywhere in a file's mapping that nobody trusts.

    Raises:
        RecipeError: see `admit`.
    """
    for name in sorted(foreign(node)):
        admit(name, trusted)


def foreign(node: Any) -> set[str]:
    """The class names of a mapping that are neither genlab's nor a plugin's, nor `HARMLESS`."""
    return {name for name in named(node) if not is_own(name)}


def is_own(name: str) -> bool:
    """True if genlab or a plugin defines the class for recipes to name, or it is `HARMLESS`.

    The whole path is looked up: what a module of genlab's has imported is not genlab's.
    """
    if name.removeprefix("lightning.pytorch.callbacks.") in HARMLESS:
        return True
    known = (classes(package) for package in ROOTS)
    if any(name in own or current(name) in own.values() for own in known):
        return True
    module, _, last = name.rpartition(".")
    plugin = plugins.declared().get(module.partition(".")[0])
    return plugin is not None and last in plugins.defined(plugin, module)


def full_path(name: str, root: type) -> str:
    """The class path of a short name, and today's path of one from an earlier genlab.

    Raises:
        RecipeError: unknown short name.
    """
    kinds = {kind.__name__ for kind in root.__mro__}
    package = next((package for package, kind in ROOTS.items() if kind in kinds), None)
    known = classes(package) if package else {}
    if "." in name:
        return current(name)
    if name in known:
        return known[name]
    if package == "callbacks":
        return f"lightning.pytorch.callbacks.{name}"
    raise RecipeError(f"unknown class {name}", hint=nearest(name, known))


def load_named(node: Any, root: type = object) -> None:
    """Load every class that a mapping names in full, so that no other code imports one first.

    The folders of the user's own classes are then on the path.

    Args:
        node: settings, at any depth.
        root: class that those of the mapping itself must be or descend from.

    Raises:
        RecipeError: see `load_class`; also a function.
    """
    if isinstance(node, list | tuple):
        for item in node:
            load_named(item, root)
    elif isinstance(node, dict):
        if "." in str(node.get("class_path", "")):
            load_class(str(node["class_path"]), root)
        for value in node.values():
            load_named(value)


def import_plugins(kind: str, name: str) -> None:
    """Import the modules of every plugin's folder, which may register models with timm.

    Where a file gives the name, only those whose text has it.

    Args:
        kind: the folder's name, ``networks``.
        name: model that is looked for.
    """
    for plugin in plugins.declared().values():
        for module, file in plugins.files(plugin, kind).items():
            if _now.trusted is None or name in file.read_text(encoding="utf-8", errors="replace"):
                _import(module, module)


def _import(module: str, path: str) -> ModuleType:
    """A module; the user's own are looked for behind all that is installed."""
    package = module.partition(".")[0]
    if package != "genlab":
        _extend_path(package)
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise _broken(module, error) from error
        raise RecipeError(
            f"unknown class {path}: there is no module {error.name}",
            hint=f"start genlab in the folder that holds {package}, or install it: "
            "pip install -e FOLDER"
            if package != "genlab"
            else nearest(path.rpartition(".")[2], [n for p in ROOTS for n in classes(p)]),
        ) from None
    except Exception as error:  # whatever a module of the user's own does when it is imported
        raise _broken(module, error) from error


def _broken(module: str, error: Exception) -> RecipeError:
    """What went wrong inside a module of the user's own."""
    frames, place = error.__traceback__, ""
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if "importlib" not in file and file != __file__:
            place = f"{file}, line {frames.tb_lineno}"
        frames = frames.tb_next
    return RecipeError(
        f"{module} cannot be imported: {type(error).__name__}: {first_line(error)}", place
    )


def _extend_path(package: str) -> None:
    """The working directory and a plugin's project, behind all that is installed."""
    plugin = plugins.declared().get(package)
    if plugin is not None and package not in _announced | sys.modules.keys() and is_first():
        _announced.add(package)
        print(f"plugin {package}: declared by {plugin.source}", file=sys.stderr)
    for place in [os.getcwd(), *(plugins.places(plugin.home) if plugin else [])]:
        if place not in sys.path:
            sys.path.append(place)
            importlib.invalidate_caches()
