"""Tables and amounts as text: aligned columns, bytes, durations, times ago."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence

AGES = ((86_400 * 365, "y"), (86_400, "d"), (3600, "h"), (60, "min"))


def print_table(
    rows: Sequence[Mapping[str, str]], right: Sequence[str] = (), spare: Sequence[str] = ()
) -> None:
    """Print rows of equal keys in columns; those that are empty in all rows are left out.

    Characters that a terminal would obey are shown by their codes.

    Args:
        rows: text of each column.
        right: columns that are aligned on the right.
        spare: columns to leave out, the first one first, until the terminal is wide enough.
    """
    rows = [{plain(name): plain(text) for name, text in row.items()} for row in rows]
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in columns}
    left_out = []
    for name in (name for name in spare if name in columns):
        if width_of([widths[one] for one in columns]) > room():
            columns.remove(name)
            left_out.append(name)
    lines = [{name: name for name in columns}, *rows]
    for row in lines:
        cells = [
            row[name].rjust(widths[name]) if name in right else row[name].ljust(widths[name])
            for name in columns
        ]
        print("  ".join(cells).rstrip())
    if left_out:
        print(f"the terminal has no room for {', '.join(left_out)}", file=sys.stderr)


def width_of(columns: Sequence[int]) -> int:
    """Characters of a line of columns, two spaces between them."""
    return sum(columns) + 2 * (len(columns) - 1)


def room() -> int:
    """Characters of the terminal's lines; of a file or a pipe as many as there are."""
    return shutil.get_terminal_size((sys.maxsize, 0)).columns


def plain(text: str) -> str:
    """A text with the codes of characters that a terminal would obey in their place."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def bytes_of(size: float) -> str:
    """``1.2 GB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 99.95 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


def time_of(hours: float) -> str:
    """``2.5 h``, ``12 min`` or ``40 s``."""
    seconds = hours * 3600
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{hours * 60:.0f} min" if hours < 1.66 else f"{hours:,.1f} h"


def ago(moment: float) -> str:
    """``3 d ago``."""
    seconds = time.time() - moment
    for unit, name in AGES:
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name} ago"
    return "now"
