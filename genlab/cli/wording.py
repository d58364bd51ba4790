"""Wording of explanations: types and defaults as a recipe writes them, prose wrapped."""

from __future__ import annotations

import ast
import re
import shutil
import textwrap
from collections.abc import Iterator

from genlab.describing import docstrings
from genlab.describing.classes import Argument

WIDEST = 100


def width() -> int:
    """Columns to wrap text to."""
    return min(WIDEST, shutil.get_terminal_size((WIDEST, 20)).columns)


def declared(argument: Argument) -> str:
    """Type and default of an argument, as a recipe writes them."""
    kind = f": {in_yaml(argument.annotation)}" if argument.annotation else ""
    return kind + ("" if argument.default is None else f" = {in_yaml(argument.default)}")


def in_yaml(text: str) -> str:
    """A type or value of Python as a recipe writes it: ``null``, ``true``, ``[256, 64]``."""
    try:
        parts = alternatives(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError):  # a default in words
        parts = [text]
    return " or ".join(dict.fromkeys(map(_part_in_yaml, parts)))


def alternatives(kind: ast.expr) -> list[str]:
    """The types and values of which one is meant: of ``Optional[Literal[1, 2]]`` 1, 2 and None."""
    match kind:
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return alternatives(left) + alternatives(right)
        case ast.Subscript(value=ast.Name(id="Optional"), slice=inner):
            return [*alternatives(inner), "None"]
        case ast.Subscript(value=ast.Name(id="Union" | "Literal"), slice=inner):
            each = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            return [text for one in each for text in alternatives(one)]
    return [ast.unparse(kind)]


def _part_in_yaml(text: str) -> str:
    text = re.sub(r"\b(?:Sequence|tuple|Mapping)\b", "list", text)
    text = re.sub(r"\bdict\[str, Any\]", "mapping", text)
    for python, word in {"None": "null", "True": "true", "False": "false"}.items():
        text = re.sub(rf"\b{python}\b", word, text)
    text = text.replace("field(default_factory=list)", "[]")
    text = re.sub(r"^\((.*?),?\)$", r"[\1]", text)
    return text.replace("'", "").replace(" | ", " or ")


def paragraphs(text: str, indent: int, later: int | None = None) -> Iterator[str]:
    """Text wrapped and indented; items of lists keep their own lines.

    Args:
        text: a docstring's text.
        indent: spaces before a line.
        later: spaces before all lines but the first; None for the same.
    """
    first, rest = " " * indent, " " * (indent if later is None else later)
    for block in _blocks(docstrings.plain(text)):
        hang = "  " if block.startswith("- ") else ""
        yield from textwrap.wrap(
            block, width(), initial_indent=first, subsequent_indent=rest + hang,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip


def _blocks(text: str) -> list[str]:
    """Paragraphs and items of lists, each on one line."""
    blocks, last = list[str](), ""
    for line in text.splitlines():
        stripped = line.strip()
        apart = not last or stripped.startswith(("- ", "* ", ">>>", "..."))
        if stripped and (apart or not blocks):
            blocks.append(stripped)
        elif stripped:
            blocks[-1] += " " + stripped
        last = stripped
    return blocks
