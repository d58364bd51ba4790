"""Runs that jobs in the queue are going to write, for a job that starts from one."""

from __future__ import annotations

import getpass
import re
from dataclasses import dataclass
from pathlib import Path

from genlab import runs
from genlab.cluster import jobs, slurm
from genlab.errors import SlurmError

FIELDS = jobs.FIELDS | {"Command": 8000}
RUN = re.compile(r"slurm-(\d+(?:_\d+)?)")
INVALID = "Invalid job id"  # what squeue says of a job that it does not know
LOST = ("FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE")


@dataclass(frozen=True)
class Parent:
    """A job and the run that it writes.

    ``run`` is None where its name cannot be told. ``words`` are the arguments of ``genlab fit`` as
    Slurm tells them, without quotes: None where it does not, empty for a task of a sweep.
    """

    job: str
    state: str
    run: Path | None
    words: list[str] | None


def job_in(word: str) -> tuple[str, Path]:
    """Job and place in its run of ``slurm-12``, or of a path with it; an empty job for the rest.

    ``runs/vae/mnist/slurm-12/checkpoints/best.ckpt`` -> ``12``, ``checkpoints/best.ckpt``.
    """
    parts = Path(word).parts
    for index, part in enumerate(parts):
        if found := RUN.fullmatch(part):
            return found[1], Path(*parts[index + 1 :])
    return "", Path()


def waits_for(job: str, after: str | None) -> bool:
    """True if ``--after`` names a job, or the array that it is a task of."""
    named = (after or "").split(":")
    return job in named or job.partition("_")[0] in named


def unknown(after: str | None) -> list[str]:
    """The jobs of ``--after`` that Slurm does not know: it waits for none of them."""
    return [job for job in (after or "").split(":") if job and _is_unknown(job)]


def _is_unknown(job: str) -> bool:
    words = ("--noheader", "--states=all", "--format=%i", f"--jobs={job}")
    try:
        return not slurm.run("squeue", *words).strip()
    except SlurmError as error:
        return INVALID in str(error)


def find(job: str) -> Parent | None:
    """A job with the run that it writes; None where squeue does not answer.

    Raises:
        SlurmError: Slurm does not know the job, it is an array, or it ended without success.
    """
    try:
        cells = jobs.listed(FIELDS, f"--user={getpass.getuser()}")
    except SlurmError:
        return None
    array = job.partition("_")[0]
    cells = [cell for cell in cells if cell["JobArrayID"].partition("_")[0] == array]
    known = {cell["JobArrayID"]: cell for cell in cells}
    if job not in known and known:
        names = ", ".join(f"slurm-{name}" for name in list(known)[:4])
        raise SlurmError(f"job {array} is an array, with a run for each task: {names}")
    if job not in known:
        raise SlurmError(f"job {job} is not in the queue, and its run is not there")
    state = known[job]["State"]
    if state in LOST:
        raise SlurmError(f"job {job} has ended as {state}: its run is not going to be finished")
    return _parent(job, known[job])


def _parent(job: str, cell: dict[str, str]) -> Parent:
    script = slurm.script().name
    before, found, rest = cell["Command"].partition(f"{script} ")
    words = rest.split() if found else [] if before.endswith(script) else None
    run = jobs.log_of(cell).with_suffix("") if ":" in cell["Name"] else None
    if words and words[0] == "--resume":
        run = Path(words[1]) if runs.is_run(Path(words[1])) else None
    return Parent(job, cell["State"], run, words)
