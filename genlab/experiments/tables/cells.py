"""Cells of a published table: the runs of its rows, and those that have to end before them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from genlab import recipes
from genlab.errors import RecipeError
from genlab.experiments.cell_folder import CellFolder
from genlab.experiments.tables.identity import Identity, is_of_this_code
from genlab.experiments.tables.table import Row, Table
from genlab.experiments.trials import Trial

COMMON = ["track.wandb=off"]  # of every run
FINGERPRINT = "fingerprint"  # in a cell's results


@dataclass(frozen=True)
class Cell:
    """A run of a row, or one that rows start from.

    Args:
        name: its name, and its run's id.
        recipe: name of its recipe.
        seed: seed of the run.
        words: ``key=value`` settings.
        row: name of its row; empty for a run that others start from.
        before: runs that have to end first, by the setting that takes them; ``judge`` is none.
        trained: True; there is no cell without a training.
    """

    name: str
    recipe: str
    seed: int
    words: list[str]
    row: str = ""
    before: dict[str, Cell] = field(default_factory=dict)
    trained: bool = True


class TableCells(CellFolder):
    """The cells of a table in a folder of runs.

    Args:
        table: the table.
        root: folder of all run directories.
        known: folder of results that stand next to pages, ``mnist_100_labels.json``; None for those
            of the run directories alone.
        words: ``key=value`` settings over those of every row.
    """

    def __init__(
        self, table: Table, root: Path, known: Path | None = None, words: Sequence[str] = ()
    ) -> None:
        self.table, self.root, self.given = table, root.absolute(), list(words)
        self.rows, self.identity = dict(table.rows), Identity()
        results = None if known is None else known / f"{table.name}.json"
        rows = [(row.reads, row.test) for row in table.rows.values()]
        stamp = {"columns": repr((dict(table.columns), rows))}
        super().__init__(self.root / "tables" / table.name, stamp, results)

    def check(self) -> None:
        """Resolve every row before anything is trained.

        Raises:
            RecipeError: an unknown recipe or key, or a wrong value.
        """
        for cell in self.all():
            resolved = recipes.resolve([cell.recipe], self._settings(cell, pinned=False))
            recipes.check_keys(resolved)

    def runs(self, row: str) -> list[Cell]:
        """The runs of a row, one a seed."""
        return [self._cell(row, seed) for seed in self.rows[row].seeds or self.table.seeds]

    def all(self) -> list[Cell]:
        """Every cell, those before others first."""
        found: dict[str, Cell] = {}
        for row in self.rows:
            for cell in self.runs(row):
                found |= {one.name: one for one in cell.before.values()} | {cell.name: cell}
        return list(found.values())

    @cached_property
    def judge(self) -> Cell | None:
        """The run of the table's feature extractor."""
        if self.table.judge is None:
            return None
        return self._named(self.table.judge, self.table.judge, self.table.seeds[0], [])

    def waits(self, cell: Cell) -> bool:
        """True if a run that this one starts from has not ended."""
        return not all(self.ended(one) for one in cell.before.values())

    def trial(self, cell: Cell) -> Trial:
        """A cell's training."""
        place = json.dumps(str(self.root), ensure_ascii=False)
        own = [*self._settings(cell), f"track.runs={place}"]
        return Trial(self._run(cell), own, [cell.recipe])

    def measure(self, cell: Cell, run: Path) -> dict[str, Any]:
        """Every column of a cell whose run has ended; of one that others start from, none.

        With them the fingerprint of recipe and settings; empty for a run of other code.
        """
        code = {FINGERPRINT: self.fingerprint(cell) if is_of_this_code(run) else ""}
        if not cell.row:
            return code | {"trained": True}
        judge = cell.before.get("judge")
        from genlab.experiments.tables.measuring import measure

        row = self.table.rows[cell.row]
        return code | measure(self.table, row, run, None if judge is None else self._run(judge))

    def fingerprint(self, cell: Cell) -> str:
        """Fingerprint of a cell's recipe and settings, by the code that is here."""
        return self.identity.fingerprint(cell.recipe, cell.words)

    def is_of_other_code(self, cell: Cell) -> bool:
        """True if a cell has results, and it or one before it was trained by other code."""
        if not self.ended(cell) or self.failure(cell):
            return False
        every = [cell, *cell.before.values()]
        return any(self.figures(one).get(FINGERPRINT) != self.fingerprint(one) for one in every)

    def lost(self, cell: Cell) -> str:
        """Reason why a run that this one starts from has failed; empty if none has."""
        for one in cell.before.values():
            if why := self.figures(one).get("failed"):
                return f"{one.recipe}: {why}"
        return ""

    def failure(self, cell: Cell) -> str:
        """Reason why a cell has no results; empty if it has, or has not ended."""
        return str(self.figures(cell).get("failed", ""))

    def seconds(self, cell: Cell) -> float | None:
        """Seconds of training, with the runs that it starts from, but not ``judge``."""
        every = [cell, *(one for key, one in cell.before.items() if key != "judge")]
        known = [self.figures(one).get("seconds") for one in every]
        return None if None in known else sum(float(one) for one in known if one is not None)

    def _settings(self, cell: Cell, pinned: bool = True) -> list[str]:
        """A cell's settings with the runs that it starts from and its seed."""
        pins = {key: self._run(one) for key, one in cell.before.items() if key != "judge"}
        words = [f"{key}={json.dumps(str(run))}" for key, run in pins.items()] if pinned else []
        return [*cell.words, *words, f"seed_everything={cell.seed}"]

    def _run(self, cell: Cell) -> Path:
        return self.root / _name(cell.recipe) / cell.name

    def _cell(self, key: str, seed: int) -> Cell:
        row: Row = self.rows[key]
        varied = [f"{one}={seed}" for one in self.table.vary]
        before = {
            setting: self._named(recipe, recipe, seed, self.table.length(recipe))
            for setting, recipe in row.after.items()
        }
        words = [*row.settings, *self.table.length(key), *varied]
        if self.judge is not None:
            before["judge"] = self.judge
        return self._named(key, row.recipe, seed, words, key, before)

    def _named(
        self, key: str, recipe: str, seed: int, words: list[str], row: str = "",
        before: dict[str, Cell] | None = None,
    ) -> Cell:  # fmt: skip
        """A cell, with a digest of its recipe's settings in the name: others are another cell."""
        words = [*COMMON, *self.table.settings, *words, *self.given]
        settings = self.identity.settings(recipe, words)
        whole = repr((recipe, settings, [one.name for one in (before or {}).values()]))
        digest = hashlib.sha256(whole.encode()).hexdigest()[:6]
        start = "-".join([self.table.slug, key.replace("/", "-").replace(" ", "-")])
        return Cell(f"{start}-s{seed}-{digest}", recipe, seed, words, row, before or {})

    def only(self, keys: Sequence[str]) -> None:
        """Leave out every other row.

        Raises:
            RecipeError: there is no such row.
        """
        for key in keys:
            if key not in self.rows:
                raise RecipeError(f"unknown row {key}", hint=f"rows are {', '.join(self.rows)}")
        self.rows = {key: row for key, row in self.rows.items() if key in keys}


@cache
def _name(recipe: str) -> str:
    """Name of a recipe, as its folder of runs has it."""
    return recipes.resolve([recipe]).name
