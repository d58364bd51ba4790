"""Results of a table in one file next to its page: every cell, a line each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genlab.errors import RecipeError, cannot_write
from genlab.files import replacing, text_of


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
        raise RecipeError("results are not a mapping of cells", str(file), "written by study page")
    return content


def write(file: Path, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace a file of results."""
    lines = [f"{json.dumps(name)}: {json.dumps(short(one))}" for name, one in found.items()]
    try:
        with replacing(file) as draft:
            draft.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    except OSError as error:
        raise cannot_write(file, error) from None


def short(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Six digits, which is more than any of them is worth."""
    return {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in figures.items()}
