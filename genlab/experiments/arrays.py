"""Trials as a Slurm job array, a task each. Imports no torch."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genlab import process
from genlab.experiments.trials import Trial


def job_of(name: str, root: Path, wish: dict[str, Any]) -> Any:
    """The job of a command's options, ``sbatch`` among them.

    Args:
        name: folder of its logs below ``root``, such as a recipe's name.
        root: folder of all run directories.
        wish: options by the names of `genlab.cluster.submission.Job`.
    """
    from genlab.cluster.nodes import Job, cpus

    given = dict(wish)
    job = Job(recipe=name, root=root, options=given.pop("sbatch"), **given)
    job.cpus_per_task, _ = cpus(job)
    return job


def submit_array(folder: Path, trials: Sequence[Trial], job: Any, parallel: int = 1) -> str:
    """Submit a task for each trial; returns Slurm's answer.

    Args:
        folder: folder of the file that lists their arguments.
        trials: trials that are not finished.
        job: the job, see `job_of`.
        parallel: tasks at a time; 1 for as many as there are free machines.

    Raises:
        RunError: Slurm refuses the job.
    """
    from genlab.cluster.submission import submit

    number = len(list(folder.glob("lines*.txt")))  # jobs in the queue still read the older ones
    job.lines = folder / f"lines{number or ''}.txt"
    job.lines.write_text("".join(_line(trial) for trial in trials))
    job.array = f"0-{len(trials) - 1}" + (f"%{parallel}" if parallel > 1 else "")
    return str(submit(job))


def _line(trial: Trial) -> str:
    """A task of the array, as slurm/train.sbatch reads it."""
    return shlex.join([f"{process.ID_VARIABLE}={trial.run.name}", *trial.command]) + "\n"
