"""A metrics.csv that is appended to, never deleted, and cut back when a run resumes earlier."""

from __future__ import annotations

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genlab.files import replacing, rows_of


class CSVLog(Logger):
    """One row for each call of ``log_metrics``, one column for each metric, empty where not given.

    Args:
        file: the CSV file; created with the first row.

    Logs:
        step (steps): number of the optimiser step, from 0; of a GAN the generator's.
        epoch (epochs): number of the epoch, from 0.

    Attributes:
        count: number of rows that are kept or were written; ranks other than the first write none.
    """

    def __init__(self, file: str | Path) -> None:
        super().__init__()
        self.file = Path(file)
        self._columns: list[str] | None = None
        self.count = 0
        self._kept: tuple[int | None, int, bool] | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return self.file.name

    @property
    def version(self) -> str:
        """The run's identity: its directory's name."""
        return self.file.parent.name

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: the recipe is next to the file."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a row; a metric not seen before becomes a new column."""
        row = {"step": step} | {k: float(v) for k, v in metrics.items()}
        columns = self._open()
        new = [key for key in row if key not in columns]
        if new or not self.file.exists():
            rows = self.rows()
            columns += new
            self.count = len(rows)  # fewer if the file was deleted
            self._replace(rows)
        with self.file.open("a", newline="") as file:
            csv.DictWriter(file, columns).writerow(row)
        self.count += 1

    def keep(self, count: int | None, step: int, tests: bool = False) -> None:
        """Drop at the next row what the run now repeats, and a torn last row.

        Args:
            count: rows that the run had written; None to go by ``step``: after n optimiser steps
                the last row is of step n - 1.
            step: optimiser steps done.
            tests: True to keep the tests behind them, of an end that is no longer the end.
        """
        self._columns, self._kept = None, (count, step, tests)
        self.count = len(self.kept())

    def kept(self) -> list[dict[str, str]]:
        """The rows that `keep` leaves, all of them without it."""
        rows = self.rows()
        if self._kept is None:
            return rows
        count, step, tests = self._kept
        if count is None:
            return [row for row in rows if row["step"].isdecimal() and int(row["step"]) < step]
        return rows[:count] + [row for row in rows[count:] if tests and _is_test(row)]

    def _open(self) -> list[str]:
        """The columns, the rows that are dropped gone."""
        if self._columns is None:
            kept = self.kept()
            self._columns, self.count = list(kept[0]) if kept else [], len(kept)
            if self._kept is not None and self.file.is_file():
                self._replace(kept)
            self._kept = None
        return self._columns

    def rows(self) -> list[dict[str, str]]:
        """The complete rows of the file, as text."""
        return rows_of(self.file)

    def _replace(self, rows: list[dict[str, str]]) -> None:
        with replacing(self.file) as draft, draft.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns or ["step"])
            writer.writeheader()
            writer.writerows(rows)


def _is_test(row: dict[str, str]) -> bool:
    return any(value and key.startswith("test/") for key, value in row.items())
