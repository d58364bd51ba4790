"""Source of installed packages: files of modules, and docstrings that stand below their class."""

from __future__ import annotations

import ast
import importlib.util
import re
from functools import cache
from inspect import cleandoc
from pathlib import Path

DIRECTIVE = re.compile(r"^( *)(?:\.\. [\w-]+::|__ ).*\n(?:(?:\1[ \t].*)?\n)*", re.M)  # of Sphinx
PRIVATE = re.compile(r"(?<![\w.'])_[A-Za-z]\w*")
LINK = re.compile(r"`__?(?!\w)")


def file_of(module: str) -> Path | None:
    """File of an installed module by its dotted name; nothing is imported."""
    top, *inside = module.split(".")
    try:
        spec = importlib.util.find_spec(top)  # of a package at the top nothing is imported
    except (ImportError, ValueError):
        return None
    if spec is None or not spec.origin:
        return None
    place = Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)
    for part in inside:
        place /= part
    options = (place / "__init__.py", place.with_suffix(".py"))
    return next((file for file in options if file.is_file()), None)


@cache
def assigned(name: str, module: str, content: str) -> str:
    """Docstring that a module assigns to a class, as torch's optimisers have it; empty without one.

    Args:
        name: the class.
        module: dotted name of its module.
        content: text of its module.
    """
    node = _value(f"{name}.__doc__", content)
    if node is None:
        return ""
    prose = DIRECTIVE.sub("", cleandoc(_joined(node, module, content)))
    return LINK.sub("`", re.sub(r"^( *)\.\. _", r"\1", prose, flags=re.M)).replace("\\:", ":")


def exporter(name: str, module: str, content: str, package: bool = False) -> str:
    """Module from which a module takes a name by ``from``; empty where it does not.

    Args:
        name: the name.
        module: dotted name of the module that takes it.
        content: its text.
        package: it is a package's ``__init__.py``.
    """
    taken = re.compile(rf"^from (\.*)([\w.]*) import (?:\([^)]*\b|.*\b){name}\b", re.M)
    if (found := taken.search(content)) is None:
        return ""
    base = module.split(".") if package else module.split(".")[:-1]
    above = base[: len(base) - len(found[1]) + 1] if found[1] else []
    return ".".join([*above, *filter(None, [found[2]])])


def constant(name: str, module: str, content: str) -> tuple[ast.expr, str, str] | None:
    """The value of a module's name, with the module that assigns it and its text; None without one.

    Args:
        name: a constant, the module's own or imported.
        module: dotted name of the module.
        content: its text.
    """
    if (node := _value(name, content)) is not None:
        return node, module, content
    home = exporter(name, module, content)
    file = file_of(home) if home else None
    return constant(name, home, file.read_text(encoding="utf-8")) if file else None


def unfolded(kind: str, module: str, content: str) -> str:
    """A type with what the private names in it stand for: ``_PRECISION_INPUT`` of Lightning."""

    def value(hit: re.Match[str]) -> str:
        found = constant(hit[0], module, content)
        return unfolded(ast.unparse(found[0]), *found[1:]) if found else hit[0]

    return PRIVATE.sub(value, kind)


def _value(target: str, content: str) -> ast.expr | None:
    """What a module assigns to a target; only those lines are parsed."""
    start = re.search(rf"^{re.escape(target)} = ", content, re.M)
    if start is None:
        return None
    lines = content[start.start() :].splitlines()
    for end in range(1, len(lines) + 1):
        if end < len(lines) and re.match(r"\s|$", lines[end]):
            continue
        try:
            node = ast.parse("\n".join(lines[:end])).body[0]
        except SyntaxError:  # a line of a text may begin at the margin
            continue
        return node.value if isinstance(node, ast.Assign) else None
    return None


def _joined(node: ast.expr, module: str, content: str) -> str:
    """A text put together from strings and from constants, the module's own or imported."""
    match node:
        case ast.Constant():
            return str(node.value)
        case ast.BinOp():
            return "".join(_joined(one, module, content) for one in (node.left, node.right))
        case ast.JoinedStr():
            return "".join(_joined(one, module, content) for one in node.values)
        case ast.FormattedValue():
            return _joined(node.value, module, content)
        case ast.Name():
            return _constant(node.id, module, content)
    return ""


def _constant(name: str, module: str, content: str) -> str:
    found = constant(name, module, content)
    return _joined(*found) if found else ""
