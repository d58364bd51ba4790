"""Cells of a table: one training and its results, with a lock for processes that share the work."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genlab import recipes, runs
from genlab.errors import cannot_write
from genlab.experiments.studies import published
from genlab.experiments.studies import table as tables
from genlab.experiments.studies.rows import Row, rows
from genlab.experiments.studies.table import Table
from genlab.experiments.trials import Trial


@dataclass(frozen=True)
class Cell:
    """A run of a row.

    Args:
        row: the row.
        name: its name, and its run's id.
        seed: seed of the run.
        words: ``key=value`` settings of its own.
        searched: True for a trial: it is measured on validation data alone.
    """

    row: Row
    name: str
    seed: int
    words: list[str]
    searched: bool = False

    def trial(self, root: Path) -> Trial:
        """Its training."""
        own = [*self.words, f"seed_everything={self.seed}"]
        place = [f"track.runs={json.dumps(str(root), ensure_ascii=False)}"]
        fixed = [self.row.recipe, *self.row.words, *place]
        return Trial(root / self.row.recipe / self.name, own, fixed)


class Cells:
    """The cells of a table in a folder of runs.

    Args:
        table: the table.
        root: folder of all run directories.
        known: folder of results that stand next to pages, ``fair_table/digits.json``; None for
            those of the run directories alone.
    """

    def __init__(self, table: Table, root: Path, known: Path | None = None) -> None:
        self.table, self.root, self.known = table, root.absolute(), known
        self.folder = self.root / "studies" / table.name

    @cached_property
    def rows(self) -> list[Row]:
        """The table's rows; those that cannot be run here where results of them are published."""
        return [row for row in rows(self.table) if not row.absent or self._is_published(row)]

    def _is_published(self, row: Row) -> bool:
        start = self._start(row)
        return any(name.startswith((f"{start}-t", f"{start}-s")) for name in self._published)

    def _start(self, row: Row) -> str:
        """Beginning of the names of a row's cells."""
        return f"{self.table.slug}-{row.key.replace('/', '-').replace(' ', '-')}"

    @cached_property
    def searched(self) -> Cells:
        """The cells of the table whose search counts."""
        if self.table.settings_of is None:
            return self
        return Cells(tables.read(self.table.settings_of), self.root, self.known)

    def steps(self, row: Row) -> int | None:
        """Optimiser steps of a row's runs; None before `timing` has found them."""
        if row.lacking:
            return None
        if images := self.table.budget.get("images"):
            return max(1, round(images / int(row.value("data.batch_size"))))
        return self.table.steps.get(row.key.rpartition("/")[2])

    def searches(self, row: Row) -> list[Cell]:
        """The trials of a row."""
        steps, search = self.steps(row), self.table.search
        if search is None or not row.trials or steps is None:
            return []
        length = f"trainer.max_steps={steps}"
        return [
            self._cell(row, f"t{number}", search.seed, [length, *words], searched=True)
            for number, words in enumerate(row.trials)
        ]

    def selected(self, row: Row) -> list[str] | None:
        """The settings that validation data select; None before every trial has ended."""
        if not row.trained:
            return []
        cells = self.searched
        same = next((one for one in cells.rows if one.key == row.key and not one.lacking), None)
        if same is None or cells.table.search is None:
            return []
        trials = cells.searches(same)
        if not trials or not all(cells.ended(one) for one in trials):
            return None
        key = f"val/{cells.table.search.select}"
        worth = [cells.figures(one).get(key) for one in trials]
        known = [(value, -number) for number, value in enumerate(worth) if value is not None]
        return same.trials[-max(known)[1]] if known else None

    def seeds(self, row: Row) -> list[Cell]:
        """The runs of a row that the table shows; none before its settings are selected."""
        chosen, steps = self.selected(row), self.steps(row)
        if row.lacking or chosen is None or (row.trained and steps is None):
            return []
        length = [f"trainer.max_steps={steps}"] if row.trained else []
        seeds = self.table.seeds[:1] if row.kind == "raw" else self.table.seeds
        return [self._cell(row, f"s{seed}", seed, [*length, *chosen]) for seed in seeds]

    def all(self) -> list[Cell]:
        """Every cell that can be named now."""
        return [cell for row in self.rows for cell in (*self.searches(row), *self.seeds(row))]

    def _cell(
        self, row: Row, end: str, seed: int, words: list[str], searched: bool = False
    ) -> Cell:
        """A cell, with a digest of its settings in the name: other settings are another cell."""
        whole = repr((row.recipe, row.words, words))
        digest = hashlib.sha256(whole.encode()).hexdigest()[:6]
        return Cell(row, f"{self._start(row)}-{end}-{digest}", seed, words, searched)

    def file(self, cell: Cell, ending: str = "json") -> Path:
        """A cell's file of results, lock or log."""
        return self.folder / f"{cell.name}.{ending}"

    def figures(self, cell: Cell) -> dict[str, Any]:
        """Results by the table's probe; ``failed`` with the reason where there are none."""
        for found in (runs.read_json(self.file(cell)), self._published.get(cell.name, {})):
            if found.get("probe") == repr(self.table.probe):
                return published.short(found)  # as next to a page: it is the same page again
        return {}

    @cached_property
    def _published(self) -> Mapping[str, dict[str, Any]]:
        """Results next to the table's page."""
        if self.known is None:
            return {}
        return published.read(self.known / f"{self.table.name}.json")

    def ended(self, cell: Cell) -> bool:
        """True if a cell is measured, or has failed."""
        return bool(self.figures(cell))

    def keep(self, cell: Cell, figures: dict[str, Any]) -> None:
        """Write a cell's results."""
        words = recipes.without_credentials(cell.words)
        facts = {"seed": cell.seed, "settings": words, "probe": repr(self.table.probe)}
        runs.write_json(self.file(cell), facts | figures)

    def forget_failed(self) -> None:
        """Let failed cells be tried again."""
        for cell in self.all():
            if "failed" in runs.read_json(self.file(cell)):
                self.file(cell).unlink()

    @contextmanager
    def held(self, cell: Cell) -> Iterator[bool]:
        """Hold a cell for this process; False where another one works on it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.file(cell, "lock"), os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise cannot_write(self.folder, error) from None
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(handle)
