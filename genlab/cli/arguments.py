"""Command-line arguments shared by several commands: recipes and ``key=value`` pairs."""

from __future__ import annotations

from pathlib import Path


def split_words(words: list[str]) -> tuple[list[str], list[str]]:
    """Recipe names and ``key=value`` overrides."""
    overrides = [w for w in words if "=" in w and not Path(w).exists()]
    return [w for w in words if w not in overrides], overrides
