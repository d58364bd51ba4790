"""A training in a process of its own, begun or continued."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from genlab import process, recipes, runs
from genlab.experiments.comparison import Run
from genlab.experiments.pool import Task


@dataclass
class Trial:
    """One run of many: its directory and its own arguments.

    Args:
        run: run directory, that of its recipe and id.
        words: its own arguments.
        fixed: arguments that it shares with others, the recipe among them.
    """

    run: Path
    words: list[str]
    fixed: list[str]

    @property
    def state(self) -> str:
        """``done``, ``running``, ``stopped`` or ``waiting``."""
        return Run(self.run).state if runs.is_run(self.run) else "waiting"

    @property
    def command(self) -> list[str]:
        """Arguments of ``genlab fit``; a run that has begun is continued."""
        begun = runs.is_run(self.run)
        return ["--resume", str(self.run)] if begun else [*self.fixed, *self.words]

    def task(self, log: Path | None = None) -> Task:
        """The process that trains it."""
        return Task(
            " ".join(recipes.without_credentials(self.words)),
            [sys.executable, "-P", "-m", "genlab", "fit", *self.command],
            {process.ID_VARIABLE: self.run.name},
            log,
        )
