"""A metrics.csv that is appended to, never deleted, and cut back when a run resumes earlier."""

from __future__ import annotations

import csv
from argparse import Namespace
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from genlab.files import replacing


class CSVLog(Logger):
    """One row for each call of ``log_metrics``, one column for each metric, empty where not given.

    Args:
        file: the CSV file; created with the first row.
    """

    def __init__(self, file: str | Path) -> None:
        super().__init__()
        self.file = Path(file)
        self._columns: list[str] | None = None

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
        if self._columns is None:
            self._columns = list(self.rows()[0]) if self.file.is_file() and self.rows() else []
        if new := [key for key in row if key not in self._columns]:
            rows = self.rows()
            self._columns += new
            self._replace(rows)
        with self.file.open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    @rank_zero_only
    def cut(self, step: int) -> None:
        """Drop the rows of ``step`` and later, which the run now repeats; and a torn last row.

        Steps count from 0: after n optimiser steps the last row is of step n - 1.
        """
        rows = [row for row in self.rows() if row["step"] and int(row["step"]) < step]
        if self.file.is_file():
            self._columns = list(rows[0]) if rows else []
            self._replace(rows)

    def rows(self) -> list[dict[str, str]]:
        """The complete rows of the file, as text."""
        if not self.file.is_file():
            return []
        text = self.file.read_text()
        lines = text[: text.rfind("\n") + 1].splitlines()
        return [row for row in csv.DictReader(lines) if None not in row.values()]

    def _replace(self, rows: list[dict[str, str]]) -> None:
        with replacing(self.file) as draft, draft.open("w", newline="") as file:
            writer = csv.DictWriter(file, self._columns or ["step"])
            writer.writeheader()
            writer.writerows(rows)
