"""Work on a study: train and measure the runs that are missing, alone or among processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Container
from pathlib import Path
from typing import Any

from genlab import runs
from genlab.errors import InputError, first_line
from genlab.experiments.arms.expansion import Cell
from genlab.experiments.arms.results import DIVERGED, SECONDS, Results
from genlab.experiments.cell_work import POLL_SECONDS, STOPPED, train

NOT_FINITE = "nonfinite/step.json"  # of a run whose training has diverged


def work(results: Results, chosen: Container[tuple[str, int]]) -> int:
    """Train and measure until nothing of the chosen arms and seeds is missing; an exit code.

    Every process that is started with the same folder takes runs that no other holds. A run that
    was killed is continued from its newest checkpoint.

    Args:
        results: the study's.
        chosen: pairs of arm and seed.
    """
    cells = [cell for cell in results.cells if (cell.arm, cell.seed) in chosen]
    while missing := [cell for cell in cells if results.lacking(cell)]:
        for cell in missing:
            with results.held(cell) as mine:
                if not mine or not results.lacking(cell):
                    continue
                said = f"{len(missing)} runs to do: {cell.arm}, seed {cell.seed}"
                print(said, file=sys.stderr, flush=True)
                if code := _do(results, cell):
                    return code
                break
        else:
            time.sleep(POLL_SECONDS)
    return 0


def _do(results: Results, cell: Cell) -> int:
    """Train and measure one run; that it diverged, or failed, is kept as its result."""
    trial = cell.trial(results.root)
    marked = trial.run / NOT_FINITE
    stopped, why = train(trial, results.file(cell, "log"), lambda: not marked.exists())
    if stopped:
        return STOPPED
    if why and not marked.exists():
        results.keep(cell, {"failed": why})
        return 0
    results.keep(cell, _measured(results, trial.run))
    return 0


def _measured(results: Results, run: Path) -> dict[str, Any]:
    if (run / NOT_FINITE).exists():
        step = runs.read_json(run / NOT_FINITE).get("step")
        return {DIVERGED: 1.0, SECONDS: None, "diverged at step": step}
    from genlab.experiments.arms.reading import measure

    try:
        question = results.question
        return measure(run, question.reads, question.evaluate, question.decides.read)
    except (InputError, ValueError, RuntimeError) as error:
        return {"failed": first_line(error)}
