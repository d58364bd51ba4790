"""Budget of a table, and the work that is left. Imports no torch."""

from __future__ import annotations

from statistics import mean

from genlab.experiments.studies.cells import Cells
from genlab.experiments.studies.rows import Row
from genlab.experiments.studies.table import Table


def length(table: Table) -> str:
    """``20 CPU seconds (mae 280)`` or ``100,000 images``, of a run."""
    budget = dict(table.budget)
    if "images" in budget:
        return f"{budget['images']:,.0f} images"
    own = ", ".join(f"{key} {count:g}" for key, count in table.row_seconds.items())
    return f"{budget['seconds']:g} CPU seconds" + (f" ({own})" if own else "")


def plan(cells: Cells) -> str:
    """``20 CPU seconds a run, 6 trials and 5 seeds of each row``."""
    trials = max((len(row.trials) for row in cells.rows), default=0)
    searched = f"{trials} trials and " if cells.table.search and trials else ""
    return f"{length(cells.table)} a run, {searched}{counted(len(cells.table.seeds), 'seed')} a row"


def left(cells: Cells) -> str:
    """``to do: 12 trials and 10 runs, about 0.1 hours of training``; empty if nothing is."""
    trials = runs = 0
    hours: float | None = 0.0
    for row in cells.rows:
        if row.lacking or row.absent or (row.trained and cells.steps(row) is None):
            continue
        seeds, chosen = cells.seeds(row), cells.searches(row)
        more = sum(not cells.ended(cell) for cell in chosen)
        last = sum(not cells.ended(cell) for cell in seeds) if seeds else len(cells.table.seeds)
        trials, runs = trials + more, runs + last
        if row.trained and more + last:
            each = _seconds(cells, row)
            hours = None if each is None or hours is None else hours + each * (more + last) / 3600
    if not trials + runs:
        return ""
    words = [counted(trials, "trial")] * bool(trials) + [counted(runs, "run")] * bool(runs)
    took = f"; the whole took {cells.table.head.cost}" if cells.table.head.cost else ""
    time = took if hours is None else f", about {hours:.1f} hours of training"
    return f"to do: {' and '.join(words)}{time}"


def counted(number: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _seconds(cells: Cells, row: Row) -> float | None:
    """Seconds of a run: the budget's, or the mean of those that were run; None of neither."""
    if "seconds" in cells.table.budget:
        key = row.key.rpartition("/")[2]
        return cells.table.row_seconds.get(key, cells.table.budget["seconds"])
    every = [cells.figures(cell) for cell in (*cells.searches(row), *cells.seeds(row))]
    known = [found["seconds"] for found in every if found.get("seconds")]
    return mean(known) if known else None
