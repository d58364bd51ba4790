"""Work on a table: train and measure the cells that are missing, alone or among processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genlab.errors import InputError, first_line
from genlab.experiments.cell_folder import Cell, CellFolder
from genlab.experiments.comparison import Run
from genlab.experiments.pool import run_all
from genlab.experiments.trials import Trial

POLL_SECONDS = 2.0
SIGNALLED = range(129, 160)  # 128 + a signal's number, of a training that saved and ended
STOPPED = 130


def work(cells: CellFolder) -> int:
    """Train and measure until no cell is missing; returns an exit code.

    Every process that is started with the same table and folder takes cells that no other holds.
    A run that was killed is continued from its newest checkpoint.
    """
    while True:
        here = (cell for cell in cells.all() if cells.here(cell))
        missing = [cell for cell in here if not cells.ended(cell)]
        if not missing:
            return 0
        for cell in missing:
            if cells.waits(cell):
                continue
            with cells.held(cell) as mine:
                if not mine or cells.ended(cell):
                    continue
                print(f"{len(missing)} cells to do: {cell.name}", file=sys.stderr, flush=True)
                if code := _do(cells, cell):
                    return code
                break
        else:
            time.sleep(POLL_SECONDS)  # cells of other processes may name settings or runs


def _do(cells: CellFolder, cell: Cell) -> int:
    """Train and measure one cell; a failure of its own is kept as its result."""
    if why := cells.lost(cell):
        cells.keep(cell, {"failed": why})
        return 0
    trial = cells.trial(cell)
    stopped, why = train(trial, cells.file(cell, "log"), lambda: cell.trained)
    if stopped:
        return STOPPED
    if why:
        cells.keep(cell, {"failed": why})
        return 0
    trained: dict[str, Any] = {"steps": 0, "seconds": None}
    if cell.trained:
        run = Run(trial.run)
        trained = {"steps": run.step, "seconds": run.figures.get("fit_seconds")}
    try:
        found = cells.measure(cell, trial.run)
    except (InputError, ValueError, RuntimeError) as error:
        found = {"failed": first_line(error)}
    cells.keep(cell, trained | found)
    return 0


def train(trial: Trial, log: Path, needed: Callable[[], bool]) -> tuple[bool, str]:
    """Train a cell whose run has not ended; a run that another process trains is waited for.

    Args:
        trial: its training.
        log: file of what the training says.
        needed: function that is False where there is nothing to train.

    Returns:
        True if a signal has stopped the work, and the reason of a failure, empty if there is none.
    """
    while trial.state == "running":  # a training that outlived the process which began it
        time.sleep(POLL_SECONDS)
    if not needed() or trial.state == "done":
        return False, ""
    codes = run_all([trial.task(log)])
    if codes[0] < 0 or codes[-1] < 0 or codes[0] in SIGNALLED:
        print("stopped; the same command goes on", file=sys.stderr)
        return True, ""
    return False, last_line(log.read_text(errors="replace")) if codes[0] else ""


def last_line(text: str) -> str:
    """The error that ends a log: its line with the program's name, or else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("genlab:")]
    return (own or lines or ["ended without a word"])[-1]
