"""Metrics of runs, kept by fingerprint and seed: an arm of two studies is trained once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from genlab import recipes, runs
from genlab.experiments import page_results
from genlab.experiments.arms.expansion import Cell, Expansion
from genlab.experiments.arms.question import Question
from genlab.experiments.cell_folder import CellFiles

DIVERGED = "diverged"  # 1 for a run that met a loss or gradient that is not finite, else 0
SECONDS = "seconds"
Values = dict[str, dict[int, dict[str, Any]]]  # metrics by arm and seed


class Results(CellFiles):
    """Metrics of a study's runs.

    Args:
        question: the study.
        root: folder of all run directories.
        known: folder of results that stand next to pages, ``NAME.json``; None for those of the
            run directories alone.
    """

    def __init__(self, question: Question, root: Path, known: Path | None = None) -> None:
        self.question, self.root, self.known = question, root.absolute(), known
        super().__init__(self.root / "arms")

    @cached_property
    def expansion(self) -> Expansion:
        """The study's runs before they are begun."""
        return Expansion(self.question)

    @cached_property
    def cells(self) -> list[Cell]:
        """Every run."""
        return self.expansion.cells()

    def all(self) -> list[Cell]:
        """Every run."""
        return self.cells

    def metrics(self, cell: Cell) -> dict[str, Any]:
        """Metrics of a run: those of its own file, else those next to the page."""
        own = runs.read_json(self.file(cell))
        if own or self.known is None:
            return page_results.short(own)
        found = self._published.get(_key(cell), {})
        return page_results.short(found) if found.get("settings") == cell.settings else {}

    def older(self) -> list[Cell]:
        """Runs whose results stand next to the page and were made with other code or versions."""
        return [
            cell
            for cell in self.cells
            if (found := self.metrics(cell)) and found.get("fingerprint") != cell.fingerprint
        ]

    @cached_property
    def _published(self) -> Mapping[str, dict[str, Any]]:
        assert self.known is not None
        return page_results.read(self.known / f"{self.question.name}.json")

    def lacking(self, cell: Cell) -> list[str]:
        """Metrics that the study reads and nobody has measured yet."""
        found = self.metrics(cell)
        over = bool(found.get(DIVERGED)) or "failed" in found
        return [] if over else [one for one in self.question.reads if one not in found]

    def keep(self, cell: Cell, metrics: Mapping[str, Any]) -> None:
        """Add to a run's metrics; those of another study's stay."""
        facts = {
            "recipe": cell.recipe, "seed": cell.seed, "settings": cell.settings,
            "words": recipes.without_credentials(list(cell.words)),
            "fingerprint": cell.fingerprint,
        }  # fmt: skip
        runs.write_json(self.file(cell), runs.read_json(self.file(cell)) | facts | dict(metrics))

    def values(self) -> Values:
        """Metrics of the runs that are measured, by arm and seed."""
        found: Values = {arm.name: {} for arm in self.question.arms}
        for cell in self.cells:
            metrics = self.metrics(cell)
            if metrics and not self.lacking(cell) and "failed" not in metrics:
                found[cell.arm][cell.seed] = metrics
        return found

    def published(self) -> dict[str, dict[str, Any]]:
        """Every measured run, for the file next to the page: its settings and what is read."""
        kept = {"fingerprint", DIVERGED, SECONDS, *self.question.reads}
        return {
            _key(cell): {"settings": cell.settings}
            | {k: v for k, v in metrics.items() if k in kept}
            for cell in self.cells
            if (metrics := self.metrics(cell)) and not self.lacking(cell)
            and "failed" not in metrics
        }  # fmt: skip


def _key(cell: Cell) -> str:
    return f"{cell.arm}, seed {cell.seed}"
