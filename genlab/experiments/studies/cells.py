"""Cells of a study: one training and its results."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from genlab.experiments.cell_folder import CellFolder
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

    @property
    def trained(self) -> bool:
        """True if there is anything to train."""
        return self.row.trained


class Cells(CellFolder):
    """The cells of a table in a folder of runs.

    Args:
        table: the table.
        root: folder of all run directories.
        known: folder of results that stand next to pages, ``fair_table/digits.json``; None for
            those of the run directories alone.
    """

    def __init__(self, table: Table, root: Path, known: Path | None = None) -> None:
        self.table, self.root, self.known = table, root.absolute(), known
        results = None if known is None else known / f"{table.name}.json"
        folder = self.root / "studies" / table.name
        super().__init__(folder, {"probe": repr(table.probe)}, results)

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
        """A cell; a digest in its name says recipe and settings: edited ones are another cell."""
        groups = {name: row.config.get(name) for name in ("model", "data", "trainer")}
        whole = json.dumps([row.recipe, groups, words], sort_keys=True, default=str)
        digest = hashlib.sha256(whole.encode()).hexdigest()[:6]
        return Cell(row, f"{self._start(row)}-{end}-{digest}", seed, words, searched)

    def trial(self, cell: Cell) -> Trial:
        """A cell's training."""
        own = [*cell.words, f"seed_everything={cell.seed}"]
        place = [f"track.runs={json.dumps(str(self.root), ensure_ascii=False)}"]
        fixed = [cell.row.recipe, *cell.row.words, *place]
        return Trial(self.root / cell.row.recipe / cell.name, own, fixed)

    def measure(self, cell: Cell, run: Path) -> dict[str, Any]:
        """Every column of a cell whose run has ended."""
        from genlab.experiments.studies.measuring import measure

        return measure(cell, self.table, run)

    def here(self, cell: Cell) -> bool:
        """True if a cell's method can be trained on this machine."""
        return not cell.row.absent
