"""A finished run checked by somebody else: its files, its metrics, its steps.

A link at step s is a whole checkpoint in ``links/``; links.json has its SHA-256, the hash of the
state in it (tensors with names, types, shapes and bytes, position in the data, counters; no times,
no paths) and of the state m steps on: its window. Links lie at multiples of a distance that doubles
when they are too many, so that they are spread evenly whatever the run's length, and those of a
killed and continued run are the straight one's. Ten windows are a twentieth of the run at most.
Link 0 is the initialisation, which follows from the recipe and the seed.

What chains them: link i + 1 follows from link i. ``full`` trains every segment again and compares
each state, best.ckpt, last.ckpt and metrics.csv: a state that does not follow is refused, whatever
its hashes say. ``spot`` trains windows again that the verifier draws: a segment of other settings
is refused if one of its windows is drawn. A false state whose window was then trained honestly
passes it, and is refused by ``full``. Hashes alone prove nothing: a forger can rewrite them all.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

from genlab import runs
from genlab.errors import RunError
from genlab.training.isolation import restored
from genlab.training.parsing import remembered
from genlab.training.proof import files, measuring, origin
from genlab.training.proof.chain import Chain
from genlab.training.proof.report import Report


def verify(run: Path, spot: int = 10, full: bool = False, seed: int | None = None) -> Report:
    """Check a finished run; nothing is written into it.

    Args:
        run: directory of the run.
        spot: number of windows to train again.
        full: True to train the whole run again instead.
        seed: number from which windows are drawn; None for one that nobody can foresee.

    Raises:
        RunError: the run has not ended, or is being trained.
    """
    if runs.held(run):
        raise RunError(f"{run} is being trained: it can be verified when it has ended")
    if not (run / "metrics.json").is_file():
        raise RunError(f"{run} has not ended\ngenlab fit --resume {run} ends it")
    report = Report()
    book = files.check(run, report)
    with restored(), remembered(), tempfile.TemporaryDirectory() as folder:
        warnings.filterwarnings("ignore", "Be aware that when using `ckpt_path`, callbacks")
        chain = Chain(run, book, report, Path(folder))
        same = origin.check(run, report)
        measuring.check(run, report, Path(folder), chain.exact and same)
        if (same or chain.apart) and chain.can_train():
            if full:
                chain.full()
            else:
                chain.spots(spot, seed)
    report.unproved.append("the rest of run.json, evaluations, pictures, logs and W&B's files")
    return report
