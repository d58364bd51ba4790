"""Modules that classes import, found in the source without running it.

Only modules that decide what a training computes count: those of genlab's `ROOMS`, of declared
plugins, and next to the user's recipes. A name that a package hands on, as in ``losses.nt_xent``,
leads to the module that defines it, so that a neighbour's change is nobody else's.
"""

from __future__ import annotations

import ast
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from genlab.recipes import plugins

ROOMS = ("methods", "losses", "networks", "augment", "optim", "data")
ROOT = Path(__file__).parents[1]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def file_of(module: str) -> Path | None:
    """The file of a module that counts; None for others.

    Args:
        module: dotted name.
    """
    top, *inside = module.split(".")
    if top == "genlab":
        places = [ROOT] if inside and inside[0] in ROOMS else []
    elif top in plugins.declared():
        plugin = plugins.declared()[top]
        homes = [Path(place) / top for place in plugins.places(plugin.home)]
        places = [plugin.folder] if plugin.folder else homes
    else:
        places = [Path.cwd() / top]
    for place in places:
        base = place.joinpath(*inside)
        for file in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if os.path.isfile(file):
                return file
    return None


@dataclass(frozen=True)
class Source:
    """A module's source.

    Args:
        module: dotted name.
        file: its file.
    """

    module: str
    file: Path

    @property
    def is_package(self) -> bool:
        """True if the module is a package."""
        return self.file.name == "__init__.py"

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree; an empty one where the file is not Python."""
        try:
            return ast.parse(self.file.read_bytes())
        except (OSError, ValueError, SyntaxError):
            return ast.Module([], [])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the syntax tree, without docstrings, comments and places."""
        hashed = hashlib.sha256()
        for part in _parts(self.tree):
            hashed.update(part.encode("utf-8", "surrogatepass") + b"\0")
        return hashed.hexdigest()

    @cached_property
    def imported(self) -> list[tuple[str, str, str]]:
        """Imports but those for type checkers alone: module, name in it, and name here."""
        found = []
        for node in _runs(self.tree):
            if isinstance(node, ast.Import):
                found += [(one.name, "", one.asname or one.name) for one in node.names]
            elif isinstance(node, ast.ImportFrom):
                home = self._absolute(node)
                found += [(home, one.name, one.asname or one.name) for one in node.names]
        return found

    def _absolute(self, node: ast.ImportFrom) -> str:
        """Dotted name of the module that an import from somewhere names."""
        if not node.level:
            return str(node.module)
        parts = self.module.split(".")
        kept = parts[: len(parts) - node.level + self.is_package]
        return ".".join([*kept, *([node.module] if node.module else [])])

    def uses(self, name: str) -> set[str] | None:
        """Attributes that are taken of a name; None if the name is used in another way too."""
        taken = self._attributes.get(name, [])
        return set(taken) if len(taken) == self._names[name] else None

    @cached_property
    def _names(self) -> Counter[str]:
        """Number of uses of each name, those before a dot too."""
        return Counter(node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name))

    @cached_property
    def _attributes(self) -> dict[str, list[str]]:
        """Attributes that are taken of each name."""
        found: dict[str, list[str]] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                found.setdefault(node.value.id, []).append(node.attr)
        return found

    def defines(self, name: str) -> bool:
        """True if a class, function or value of that name is made at the top of the module."""
        for node in self.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", 0)]
            names = {one.id for one in targets if isinstance(one, ast.Name)}
            if name in names or getattr(node, "name", None) == name:
                return True
        return False


def stamp(file: Path) -> tuple[int, int]:
    """Time of a file's last change and its size; zeros where it is gone."""
    try:
        state = file.stat()
    except OSError:
        return 0, 0
    return state.st_mtime_ns, state.st_size


@lru_cache(2000)
def _read(module: str, file: Path, changed: int, size: int) -> Source:
    """A module's source, taken apart once for as long as the file stays as it is."""
    return Source(module, file)


def _parts(node: object) -> Iterator[str]:
    """Texts that a syntax tree consists of, the same in all versions of Python."""
    if isinstance(node, ast.AST):
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            if value is None or value == [] or name in ("kind", "type_comment", "type_ignores"):
                continue
            yield name
            if name == "body":
                value = _undocumented(node)
            elif isinstance(node, ast.JoinedStr):  # some versions end a format with an empty text
                value = [one for one in node.values if getattr(one, "value", None) != ""]
            yield from _parts(value)
    elif isinstance(node, list):
        yield f"[{len(node)}"
        for item in node:
            yield from _parts(item)
    else:
        yield repr(node)


def _undocumented(node: ast.AST) -> object:
    """The body of a module, class or function without its docstring."""
    body = getattr(node, "body", None)
    if not isinstance(node, DOCUMENTED) or not isinstance(body, list) or not body:
        return body
    first = body[0]
    is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] if is_text and isinstance(first.value.value, str) else body


def _runs(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a tree but those below ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for other in node.orelse:
                yield from (other, *_runs(other))
        else:
            yield node
            yield from _runs(node)


class Closure:
    """Modules that the classes of a recipe import, directly or not.

    Args:
        classes: dotted names of classes.
    """

    def __init__(self, classes: Iterable[str]) -> None:
        self.modules: dict[str, Source] = {}
        self.files: set[Path] = set()
        self._sources: dict[str, Source | None] = {}
        self._asked: set[tuple[str, str]] = set()
        for name in sorted(classes):
            module, _, of = name.rpartition(".")
            self._name(module, of)

    @property
    def digests(self) -> dict[str, str]:
        """Digests of the modules by their names."""
        return {name: source.digest for name, source in self.modules.items()}

    def _source(self, module: str) -> Source | None:
        if module not in self._sources:
            file = file_of(module)
            self._sources[module] = _read(module, file, *stamp(file)) if file else None
            self.files |= {file} if file else set()
        return self._sources[module]

    def _name(self, module: str, name: str) -> None:
        """Follow a name of a module to where it is defined."""
        source = self._source(module) if module else None
        if source is None or (module, name) in self._asked:
            return
        self._asked.add((module, name))
        if not source.is_package or source.defines(name):
            self._add(source)
        elif handed := [(a, b) for a, b, here in source.imported if here == name]:
            for home, original in handed:
                self._name(home, original) if original else self._module(home)
        elif self._source(f"{module}.{name}"):
            self._module(f"{module}.{name}")
        else:
            self._of_a_face(source, name)

    def _of_a_face(self, package: Source, name: str) -> None:
        """Follow a class that a package reads off its files, see `genlab.faces`, or else all."""
        for file in sorted(package.file.parent.glob("[a-z]*.py")):
            inside = self._source(f"{package.module}.{file.stem}")
            if inside and inside.defines(name):
                self._add(inside)
                return
        self._add(package)

    def _module(self, module: str) -> None:
        """Follow a module as a whole; of a package, everything that it imports."""
        if source := self._source(module):
            self._add(source)

    def _add(self, source: Source) -> None:
        if source.module in self.modules:
            return
        self.modules[source.module] = source
        for home, name, here in source.imported:
            inner = f"{home}.{name}" if name else home
            package = self._source(inner)
            is_alias = package and package.is_package and "." not in here
            taken = source.uses(here) if is_alias else None
            if not package:
                self._name(home, name)
            elif taken is None:
                self._module(inner)
            for attribute in sorted(taken or ()):
                self._name(inner, attribute)
