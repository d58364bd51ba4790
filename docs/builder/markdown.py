"""Pieces of Markdown: tables, links to papers, cells in one line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
CODE = re.compile(r"(`+[^`]+`+)")
ADDRESS = re.compile(r"(?<![(<\w])https?://[^\s),;]*[\w/]")


def cell(text: str) -> str:
    """A text in one line of a table; a bar inside code is none of the table's."""
    parts = CODE.split(re.sub(r"\s+", " ", text).strip())
    return "".join(p if CODE.fullmatch(p) else p.replace("|", r"\|") for p in parts)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; empty where there are no rows."""
    body = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    if not body:
        return ""
    return "\n".join([f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", *body]) + "\n"


def linked(text: str) -> str:
    """A text whose arXiv numbers and addresses are links."""
    text = ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
    return ADDRESS.sub(lambda match: f"<{match[0]}>", text)


def code(text: str) -> str:
    """A short text as code; empty stays empty."""
    return f"`{text}`" if text else ""


def section(title: str, text: str, level: int = 2) -> str:
    """A titled part of a page; empty where there is no text."""
    return f"{'#' * level} {title}\n\n{text.strip()}\n\n" if text.strip() else ""
