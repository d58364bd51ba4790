"""Classes and functions described: first line, arguments with text and default, place, papers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from genlab.describing import docstrings, foreign, source
from genlab.describing.source import Definition

NAME = r"(?:[Vv]an (?:den |der )?)?[A-Z][\w-]+"
WORK = rf"{NAME}(?:(?:, | & | and ){NAME})*(?: et al)? \(?\d{{4}}"  # authors and year
PAPER = re.compile(rf"{WORK}(?: \([^()]*\))?[^;.:()]*?arXiv:\d{{4}}\.\d{{4,5}}")
BOOK = re.compile(rf"{WORK}[^;.]*")  # a source without a number


@dataclass(frozen=True)
class Argument:
    """An argument of a constructor or a function.

    Args:
        name: its name.
        text: documented meaning; empty where there is none.
        annotation: type as it is written; empty where there is none.
        default: default as it is written; None for an argument that must be given.
        owner: the class or function that has it.
    """

    name: str
    text: str
    annotation: str
    default: str | None
    owner: Definition


@dataclass(frozen=True)
class Description:
    """A class or function with all that its source says.

    Args:
        definition: its place in the source.
        first: first line of its docstring.
        prose: the rest of it, without sections.
        arguments: arguments, inherited ones included, in order.
        papers: sources named in its docstring and its module's.
    """

    definition: Definition
    first: str
    prose: str
    arguments: tuple[Argument, ...]
    papers: tuple[str, ...]

    def argument(self, name: str) -> Argument | None:
        """One argument by name."""
        return next((one for one in self.arguments if one.name == name), None)


@cache
def describe(definition: Definition) -> Description:
    """Description of a class or function."""
    parsed = docstrings.parse(definition.docstring)
    return Description(
        definition,
        parsed.first,
        parsed.prose,
        tuple(arguments(definition)),
        tuple(papers(definition)),
    )


def arguments(definition: Definition) -> list[Argument]:
    """Arguments of a class's constructor or of a function, in order.

    Those that ``**kwargs`` hands to a base follow, and those of a base where a class has no
    constructor of its own.
    """
    found: dict[str, Argument] = {}
    for owner in _lineage(definition):
        for one in _own(owner):
            known = found.get(one.name)
            if known is None or (not known.text and one.text):
                found[one.name] = one if known is None else _documented(known, one.text)
    inherited = [one for one in found.values() if one.owner.path != definition.path]
    handed = next((one.text for name, one in found.items() if name.startswith("**")), "")
    for one in inherited:
        found[one.name] = one if one.text else _documented(one, handed)
    return [one for one in found.values() if not (inherited and one.name.startswith("*"))]


def _documented(one: Argument, text: str) -> Argument:
    return Argument(one.name, text, one.annotation, one.default, one.owner)


def _lineage(definition: Definition) -> Iterator[Definition]:
    """The definition, and its bases as far as its constructors hand arguments on."""
    yield definition
    if not isinstance(definition.node, ast.ClassDef):
        return
    init = _constructor(definition.node)
    if init is not None and init.args.kwarg is None:
        return
    if init is None and _is_record(definition.node):
        return
    for base in definition.node.bases:
        name = ast.unparse(base).partition("[")[0]
        above = source.imported(definition, name)
        if above is not None and above.path != definition.path:
            yield from _lineage(above)


def _own(definition: Definition) -> Iterator[Argument]:
    """Arguments that a definition itself has, with their documentation."""
    node = definition.node
    init = _constructor(node) if isinstance(node, ast.ClassDef) else node
    texts = docstrings.parse(definition.docstring).entries("Args")
    if init is None:
        yield from _fields(definition, texts) if isinstance(node, ast.ClassDef) else ()
        return
    if init is not node:
        texts = docstrings.parse(ast.get_docstring(init) or "").entries("Args") | texts
    given = [*init.args.posonlyargs, *init.args.args]
    defaults = [None] * (len(given) - len(init.args.defaults)) + list(init.args.defaults)
    pairs = [*zip(given, defaults, strict=True)]
    pairs += [*zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)]
    for arg, default in pairs:
        if arg.arg not in ("self", "cls"):
            yield _argument(definition, texts, arg.arg, arg.annotation, default)
    if init.args.kwarg is not None and (entry := texts.get(f"**{init.args.kwarg.arg}")):
        yield Argument(entry.name, entry.text, "", "", definition)


def _fields(definition: Definition, texts: dict[str, docstrings.Entry]) -> Iterator[Argument]:
    """Fields of a data class."""
    assert isinstance(definition.node, ast.ClassDef)
    if _is_record(definition.node):
        for item in definition.node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
                yield _argument(definition, texts, item.target.id, item.annotation, item.value)


def _argument(
    owner: Definition,
    texts: dict[str, docstrings.Entry],
    name: str,
    annotation: ast.expr | None,
    default: ast.expr | None,
) -> Argument:
    module, content = owner.module, source.text(owner.file)
    kind = foreign.unfolded(ast.unparse(annotation), module, content) if annotation else ""
    text = texts[name].text if name in texts else ""
    return Argument(name, text, kind, _written(default, module, content), owner)


def _written(default: ast.expr | None, module: str, content: str) -> str | None:
    """A default as it is written; of a constant its value."""
    if isinstance(default, ast.Name) and default.id.isupper():
        found = foreign.constant(default.id, module, content)
        default = found[0] if found else default
    return ast.unparse(default) if default else None


def _constructor(node: ast.ClassDef) -> ast.FunctionDef | None:
    found = (item for item in node.body if isinstance(item, ast.FunctionDef))
    return next((item for item in found if item.name == "__init__"), None)


def _is_record(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(one) for one in node.decorator_list)


def papers(definition: Definition) -> list[str]:
    """Sources that a class's docstring and its module's name, each with its arXiv number if any."""
    own = definition.module in source.modules()  # modules of other packages are long
    module = ast.get_docstring(source.tree(definition.file)) or "" if own else ""
    text = " ".join(f"{module}\n{definition.docstring}".replace("et al.", "et al").split())
    found = PAPER.findall(text)
    if not found and definition.module.split(".")[1:2] == ["methods"]:
        found = BOOK.findall(text)[:1]
    return [one.replace("et al", "et al.") for one in dict.fromkeys(found)]
