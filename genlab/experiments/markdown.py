"""Parts of pages in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean, stdev

NOTHING = "-"


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean and standard deviation (n - 1), ``93.1 ± 0.4``; ``-`` of no values."""
    if not values:
        return NOTHING
    text = f"{mean(values):.{digits}f}"
    return text + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


def grid(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown, its first column to the left."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    texts = [[text.replace("|", "\\|") for text in line] for line in (header, rule, *lines)]
    return "\n".join(f"| {' | '.join(line)} |" for line in texts)
