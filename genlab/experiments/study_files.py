"""Files of studies: those that ask one question, and tables of methods."""

from __future__ import annotations

import re
from pathlib import Path

from genlab import recipes


def folder() -> Path:
    """The folder of shipped studies."""
    return recipes.root() / "studies"


def shipped(questions: bool) -> dict[str, Path]:
    """Every shipped study by its name.

    Args:
        questions: True for those of one question, False for tables.
    """
    found = sorted(file for file in folder().rglob("*.yaml") if is_question(file) == questions)
    return {file.relative_to(folder()).with_suffix("").as_posix(): file for file in found}


def is_question(file: Path) -> bool:
    """True if a study's file asks a question; others are tables of methods."""
    return re.search(r"^question:", file.read_text(encoding="utf-8"), re.M) is not None
