"""``jobs`` and ``cancel``: a user's trainings in Slurm's queue."""

from __future__ import annotations

import json as json_format
import math
import sys
from argparse import ArgumentParser
from pathlib import Path

from genlab.cluster import jobs as queue
from genlab.cluster import slurm
from genlab.errors import SlurmError
from genlab.files import shown_path


def jobs_options(parser: ArgumentParser) -> None:
    """List your genlab jobs."""
    parser.add_argument("--json", action="store_true")


def cancel_options(parser: ArgumentParser) -> None:
    """Cancel jobs; each saves first."""
    parser.add_argument("jobs", nargs="+")


def jobs(json: bool) -> None:
    """List this user's genlab jobs with where their training is."""
    rows = queue.jobs()
    if json:
        print(json_format.dumps([row.as_dict() for row in rows], indent=2))
        return
    if not rows:
        print("no genlab jobs in the queue")
        return
    table = [("JOB", "RECIPE", "STATE", "TIME", "STEP", "IMAGES/S", "METRIC", "RUN")]
    for row in rows:
        state = f"{row.state} ({row.reason})" if row.reason else row.state
        metric = "" if row.value is None else f"{row.metric} {row.value:.4g}"
        place = shown_path(Path(row.run)) if row.run else row.log
        table.append((
            row.job, row.recipe, state, f"{row.used}/{row.limit}", _number(row.step),
            _number(row.images_per_second), metric, place,
        ))  # fmt: skip
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        print("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:,.0f}"


def cancel(jobs: list[str]) -> None:
    """Cancel genlab jobs; a training writes a last checkpoint before it goes."""
    known = {row.job: row.state for row in queue.jobs()}
    arrays = {name.partition("_")[0] for name in known if "_" in name}
    for job in jobs:
        if job not in known and job not in arrays:
            hint = f"there are: {', '.join(known)}" if known else "the queue holds none"
            raise SlurmError(f"no genlab job {job} of yours\n{hint}")
    slurm.run("scancel", *jobs)
    print(f"cancelled {', '.join(jobs)}", file=sys.stderr)
