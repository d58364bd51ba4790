"""Columns of a table, read from a run that has ended, or measured on it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from genlab.errors import RunError, nearest
from genlab.experiments.comparison import Run
from genlab.experiments.tables.table import Column, Row, Table


def measure(table: Table, row: Row, run: Path, judge: Path | None = None) -> dict[str, float]:
    """Every column of a run by its name.

    Args:
        table: the table.
        row: the run's row.
        run: the run's directory.
        judge: run of the feature extractor, for columns of ``evaluate``.

    Raises:
        RunError: a column reads a metric that is not there.
    """
    sources: dict[str, Mapping[str, Any]] = {}
    found = {}
    for name, column in table.columns.items():
        key = repr((column.test, column.evaluate))
        if key not in sources:
            sources[key] = _metrics(column, row.test, run, judge)
        metric = row.reads.get(name, column.read)
        value = sources[key].get(metric)
        if value is None:
            known = [one for one in sources[key] if sources[key][one] is not None]
            raise RunError(f"{row.recipe} has no {metric}; {nearest(metric, known)}")
        found[name] = column.offset + column.scale * float(value)
    return found


def _metrics(column: Column, test: list[str], run: Path, judge: Path | None) -> Mapping[str, Any]:
    if column.test is not None or test:
        from genlab.training.opened import figures_of, open_run

        lab, _ = open_run([str(run)], [*(column.test or []), *test])
        lab.model.eval()
        return figures_of(lab, "test")
    if column.evaluate is not None:
        from genlab.experiments.measurement import examine

        by = {} if judge is None else {"judge": str(judge)}
        return examine([str(run)], [], **(by | dict(column.evaluate))).metrics
    return Run(run).figures
