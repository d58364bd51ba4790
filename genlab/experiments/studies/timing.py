"""Steps of a time budget: CPU time of a step of each row, measured once on an idle machine."""

from __future__ import annotations

import json
import resource
import sys
import tempfile
from pathlib import Path

from genlab.errors import RunError
from genlab.experiments.pool import run_all
from genlab.experiments.studies.rows import Row
from genlab.experiments.trials import Trial

WARM = 20  # steps of the shorter run
DIGITS = 2  # significant ones of a number of steps


def steps_of(row: Row, seconds: float, measured: int) -> int:
    """Steps of a row within a budget, rounded to two digits.

    The CPU time of two whole runs differs by that of ``measured`` steps and of what belongs to
    their epochs, such as a clustering; starting does not count.

    Args:
        row: the row.
        seconds: CPU seconds of a run.
        measured: steps by which the longer run is longer.

    Raises:
        RunError: a run failed, or more steps took no longer.
    """
    short, long = (cpu_seconds(row, WARM + more) for more in (0, measured))
    each = (long - short) / measured
    if each <= 0:
        raise RunError(f"{row.key}: {measured} steps took no CPU time; --steps N measures more")
    print(f"{row.key}: {1000 * each:.1f} ms a step", file=sys.stderr)
    return rounded(seconds / each)


def rounded(steps: float) -> int:
    """``1234.5`` -> ``1200``; at least 1."""
    return max(1, int(float(f"{steps:.{DIGITS}g}")))


def cpu_seconds(row: Row, steps: int) -> float:
    """CPU time, user's and system's, of a training from start to end."""
    with tempfile.TemporaryDirectory() as place:
        own = [f"trainer.max_steps={steps}"]
        log = Path(place) / "log"
        before = _spent()
        shared = [row.recipe, *row.words, f"track.runs={json.dumps(place)}"]
        trial = Trial(Path(place) / row.recipe / "bench", own, shared)
        codes = run_all([trial.task(log)])
        if codes != [0]:
            said = log.read_text(errors="replace").strip().splitlines()
            raise RunError(f"{row.key}: {said[-1] if said else codes}")
        return _spent() - before


def _spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
