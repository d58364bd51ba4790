"""Rows of metrics.csv compared with those that training again writes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from genlab.files import rows_of
from genlab.training.record import MEASURED

Cell = tuple[int, str, str]


def differences(run: Path, tables: Iterable[Path], first: int) -> list[str]:
    """The first difference of a run's metrics.csv from that of training again, if there is one.

    Args:
        run: the run directory.
        tables: files of metrics of the segments.
        first: step from which they are.
    """
    told = _cells(run / "metrics.csv", first)
    found = {cell for table in tables for cell in _cells(table, first)}
    lines = []
    if false := sorted(told - found):
        step, key, value = false[0]
        lines.append(f"metrics.csv: {key} is {value} at step {step:,}; training gives another")
    if lost := sorted(found - told):
        step, key, value = lost[0]
        lines.append(f"metrics.csv: {key} is not {value} at step {step:,}, as training gives it")
    return lines[:1]


def _cells(file: Path, first: int) -> set[Cell]:
    rows = [row for row in rows_of(file) if row["step"].isdecimal()]
    return {
        (int(row["step"]), key, value)
        for row in rows
        if int(row["step"]) >= first and not _is_test(row)
        for key, value in row.items()
        if value and key not in MEASURED
    }


def _is_test(row: dict[str, str]) -> bool:
    return any(value and key.startswith("test/") for key, value in row.items())
