"""Results of a table in one file next to its page: every cell, a line each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genlab.errors import RecipeError, cannot_write
from genlab.files import replacing, shown_path, text_of


def read(file: Path) -> dict[str, dict[str, Any]]:
    """Results by the name of their cell; empty where there is no file.

    Raises:
        RecipeError: the file is not one that `write` has written.
    """
    if not file.exists():
        return {}
    try:
        content = json.loads(text_of(file))
    except (OSError, ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not all(isinstance(one, dict) for one in content.values()):
        raise RecipeError("results are not a mapping of cells", str(file), "written next to a page")
    return content


def write(file: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace a file of results."""
    lines = [f"{json.dumps(name)}: {json.dumps(short(one))}" for name, one in found.items()]
    try:
        with replacing(file) as draft:
            draft.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    except OSError as error:
        raise cannot_write(file, error) from None


def write_with_page(
    page: Path, text: str, found: Mapping[str, Mapping[str, Any]], complete: bool = True
) -> list[Path]:
    """Write a page and, next to it, every result; returns the files that were written.

    Args:
        page: file of the page; its folder is made.
        text: the page.
        found: results by the name of their cell; where there is none, no file of results is made.
        complete: True to refuse to drop results that stand next to the page.

    Raises:
        RecipeError: the page is not a file of Markdown, or results would be dropped.
    """
    results = page.with_suffix(".json")
    if results == page:
        raise RecipeError(f"--out {page} is not a file of Markdown", hint="FILE.md")
    if complete and (lost := set(read(results)) - set(found)):
        what = f"{len(lost)} results in {shown_path(results)} are of no cell of this page"
        raise RecipeError(what, hint="--known DIR lets them take part; or remove the file")
    write_text(page, text)
    if not found and not results.exists():
        return [page]
    write(results, found)
    return [page, results]


def write_text(page: Path, text: str) -> None:
    """Replace a page in one step; its folder is made."""
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        with replacing(page) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise cannot_write(str(page), error) from None


def short(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Six digits, which is more than any of them is worth."""
    return {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in figures.items()}
