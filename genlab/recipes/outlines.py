"""Outlines of modules: what each definition is, as a digest, and which names it uses. No import.

A digest says what a definition does. It leaves out comments, docstrings and other strings that
stand alone, annotations, and texts that are raised, warned of or printed, but not what such a text
computes by the way: ``print(f"{x.mul_(2)}")``. It is the same in all versions of Python.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeGuard

from genlab.recipes.effects import FUNCTIONS, QUIET_CALLS, acts, is_text_alone, last

LEFT_OUT = {"kind", "type_comment", "type_ignores", "returns", "annotation", "ctx", "type_params"}
SAYING = {"print", "rank_zero_debug", "rank_zero_info", "rank_zero_warn", "warn"}
OF_SPEAKERS = SAYING | {"debug", "error", "exception", "info", "note", "warning"}
SPEAKERS = {"log", "logger", "logging", "process", "rank_zero", "warnings"}
READING = {"abs", "any", "all", "repr", "round", "sorted", "type"}  # in a text that is said
MARKS = {"ClassVar", "InitVar", "KW_ONLY"}  # annotations that make another dataclass
DYNAMIC = {"__import__", "eval", "exec", "import_module", "iter_modules", "load_module",
           "spec_from_file_location", "walk_packages"}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """A name that an import makes.

    Args:
        module: dotted name of the module.
        name: name in it; empty for the module itself, ``*`` for all.
        here: name that it gets.
        at_once: False for an import inside a function.
    """

    module: str
    name: str
    here: str
    at_once: bool = True


@dataclass
class Unit:
    """A statement at the top of a module.

    Args:
        binds: names that it makes.
        digest: hash of what it does.
        uses: dotted names that it takes.
        texts: strings in it.
        acts: True if it does more than making a name.
    """

    binds: frozenset[str]
    digest: str
    uses: frozenset[str]
    texts: frozenset[str]
    acts: bool


@dataclass
class Outline:
    """A module's statements and imports; ``whole`` where the file is not Python."""

    units: list[Unit] = field(default_factory=list)
    imports: dict[str, list[Import]] = field(default_factory=dict)
    whole: str = ""


@lru_cache(2000)
def outline(module: str, file: Path, changed: int, size: int) -> Outline:
    """A module's outline, made once for as long as the file stays as it is.

    Args:
        module: dotted name.
        file: its source.
        changed: time of the file's last change.
        size: its size.
    """
    try:
        content = file.read_bytes()
    except OSError:
        return Outline(whole="gone")
    try:
        tree = ast.parse(content)
        return _outline(tree, module, file.name == "__init__.py")
    except (ValueError, SyntaxError, RecursionError):
        return Outline(whole=hashlib.sha256(content).hexdigest())


def _outline(tree: ast.Module, module: str, is_package: bool) -> Outline:
    found = Outline()
    for node in _runs(tree.body):
        for one in _imports(node, module, is_package):
            found.imports.setdefault(one.here, []).append(one)
        if not isinstance(node, ast.Import | ast.ImportFrom) and not is_text_alone(node):
            found.units.append(_unit(node))
    return found


def _runs(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that a program runs: of ``if TYPE_CHECKING`` the other branch, of main none."""
    for node in body:
        if not isinstance(node, ast.If):
            yield node
            continue
        test = ast.unparse(node.test)
        if test in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "_typing.TYPE_CHECKING"):
            yield from _runs(node.orelse)
        elif test in ("not TYPE_CHECKING", "not typing.TYPE_CHECKING"):
            yield from _runs(node.body)
        elif test != "__name__ == '__main__'":
            yield node


def _imports(node: ast.stmt, module: str, is_package: bool) -> Iterator[Import]:
    """The imports in a statement, those inside functions too."""
    inside = isinstance(node, FUNCTIONS)
    for one in ast.walk(node):
        if isinstance(one, ast.Import):
            for name in one.names:
                top = name.name.partition(".")[0]
                yield Import(name.name if name.asname else top, "", name.asname or top, not inside)
                if not name.asname and top != name.name:  # it runs the inner module too
                    yield Import(name.name, "", "", not inside)
        elif isinstance(one, ast.ImportFrom):
            home = _absolute(one, module, is_package)
            for name in one.names:
                yield Import(home, name.name, name.asname or name.name, not inside)


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    """Dotted name of the module that an import from somewhere names."""
    if not node.level:
        return str(node.module)
    parts = module.split(".")
    kept = parts[: len(parts) - node.level + is_package]
    return ".".join([*kept, *([node.module] if node.module else [])])


def _unit(node: ast.stmt) -> Unit:
    walk = _Walk()
    walk.statement(node)
    digest = hashlib.sha256("\0".join(walk.parts).encode("utf-8", "surrogatepass")).hexdigest()
    return Unit(
        frozenset(_bound(node)), digest, frozenset(walk.uses), frozenset(walk.texts), acts(node)
    )


def _bound(node: ast.AST) -> Iterator[str]:
    """Names that a statement makes at the top of a module."""
    if isinstance(node, (*FUNCTIONS, ast.ClassDef)):
        yield node.name
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif not isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp):
        for child in ast.iter_child_nodes(node):
            yield from _bound(child)


def _is_text(node: ast.AST) -> bool:
    """True for a text, put together or not."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str)
    if isinstance(node, ast.BinOp):
        return _is_text(node.left) or _is_text(node.right)
    if isinstance(node, ast.IfExp):
        return _is_text(node.body) and _is_text(node.orelse)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        return node.func.attr in ("format", "join") and _is_text(node.func.value)
    return isinstance(node, ast.JoinedStr)


def _speaks(node: ast.AST) -> TypeGuard[ast.Call]:
    """True for a call that prints, warns or logs a text."""
    if not isinstance(node, ast.Call):
        return False
    if isinstance(node.func, ast.Attribute):
        return node.func.attr in OF_SPEAKERS and last(node.func.value) in SPEAKERS
    return last(node.func) in SAYING


def _changes(node: ast.AST, goes_on: bool) -> bool:
    """True for a part of a text that may change something; of one that is raised, in place."""
    if not isinstance(node, ast.Call):
        return isinstance(node, ast.NamedExpr | ast.Await | ast.Yield | ast.YieldFrom)
    if not goes_on:
        return last(node.func).endswith("_")
    quiet = isinstance(node.func, ast.Name) and node.func.id in QUIET_CALLS | READING
    return not (quiet or _is_text(node))


class _Walk:
    """The parts of a statement in order, and names and texts in it."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.uses: set[str] = set()
        self.texts: set[str] = set()

    def statement(self, node: ast.AST) -> None:
        """Take a node and all below it."""
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            self._message(node.exc, goes_on=False)
        elif isinstance(node, ast.Expr) and _speaks(node.value):
            self._message(node.value, goes_on=True)
        elif isinstance(node, ast.Assert):
            self.parts.append("Assert")
            self.statement(node.test)
        elif isinstance(node, ast.AnnAssign):
            self._annotated(node, "")
        elif isinstance(node, ast.Constant):
            self.parts.append(repr(node.value))
            self.texts |= {node.value} if isinstance(node.value, str) else set()
        elif isinstance(node, ast.Name):
            self.parts.append(node.id)
            self.uses.add(node.id)
        elif isinstance(node, ast.Attribute):
            self._attribute(node)
        elif not isinstance(node, ast.Import | ast.ImportFrom):
            self._fields(node)
        else:
            self.parts += [f"{one.name} as {one.asname}" for one in node.names]

    def _fields(self, node: ast.AST) -> None:
        self.parts.append(type(node).__name__)
        for name, value in ast.iter_fields(node):
            if value is None or value == [] or name in LEFT_OUT:
                continue
            self.parts.append(name)
            if isinstance(value, list):
                self._listed(node, value)
            elif isinstance(value, ast.AST):
                self.statement(value)
            else:
                self.parts.append(repr(value))

    def _listed(self, node: ast.AST, listed: list[Any]) -> None:
        kept = [one for one in listed if not (isinstance(one, ast.AST) and is_text_alone(one))]
        if isinstance(node, ast.JoinedStr):  # some versions end a format with an empty text
            kept = [one for one in kept if getattr(one, "value", None) != ""]
        self.parts.append(f"[{len(kept)}")
        for one in kept:
            if isinstance(node, ast.ClassDef) and isinstance(one, ast.AnnAssign):
                self._annotated(one, "field")
            elif isinstance(one, ast.AST):
                self.statement(one)
            else:
                self.parts.append(repr(one))

    def _annotated(self, node: ast.AnnAssign, kind: str) -> None:
        """``a: int = 1`` is ``a = 1``, but for a field of a class."""
        if node.value is None and not kind:
            return
        marks = {last(one) for one in ast.walk(node.annotation) if isinstance(one, ast.expr)}
        self.parts += [kind, *sorted(marks & MARKS)] if kind else []
        targets: list[ast.expr] = [node.target]
        value = node.value or ast.Constant(None)
        self._fields(ast.Assign(targets, value)) if node.value else self.statement(node.target)

    def _message(self, node: ast.Call, goes_on: bool) -> None:
        """What is raised or called, and what it is given besides texts."""
        self.parts.append("message")
        self.statement(node.func)
        for one in (*node.args, *node.keywords):
            given = one.value if isinstance(one, ast.keyword) else one
            if not _is_text(given):
                self.statement(one)
            else:
                self._computed(given, goes_on)
        self.parts.append("end")

    def _computed(self, text: ast.AST, goes_on: bool) -> None:
        """What a text computes besides itself: calls in it that may change something."""
        for one in ast.iter_child_nodes(text):
            if _changes(one, goes_on):
                self.statement(one)
            else:
                self._computed(one, goes_on)

    def _attribute(self, node: ast.Attribute) -> None:
        names, inner = [node.attr], node.value
        while isinstance(inner, ast.Attribute):
            names.append(inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name):
            dotted = ".".join([inner.id, *reversed(names)])
            self.uses.add(dotted)
            self.parts.append(dotted)
        else:
            self.parts += ["of", *names]
            self.statement(inner)
