"""Submission of a training: its ``sbatch`` command and Slurm's answer."""

from __future__ import annotations

import os
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

from genlab import process, recipes, runs
from genlab.cluster import slurm
from genlab.errors import RunError, SlurmError

WARNING_SECONDS = 120  # Slurm warns up to a minute early, never late
OWN = (runs.RUN_VARIABLE, process.ID_VARIABLE, "GENLAB_LINES", slurm.FAILURES)
EARLY_SECONDS = 60
TIME = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?")
ENDLESS = ("infinite", "unlimited")
JOBS = re.compile(r"\d+(_\d+)?(:\d+(_\d+)?)*")


@dataclass
class Job:
    """Resources and options of a training's Slurm job.

    Args:
        recipe: its name; runs and logs are ``<root>/<recipe>/slurm-<job>`` and ``... .log``.
        root: folder of all run directories.
        words: arguments of ``genlab fit``; not used by an array with ``lines``.
        nodes: number of nodes.
        gpus_per_node: GPUs, and tasks, on each node; 0 for CPU-only partitions.
        tasks_per_node: processes on each node without GPUs.
        cpus_per_task: cores of each process; it sets OMP_NUM_THREADS. None: see `nodes.cpus`.
        time: limit, as Slurm writes it (``24:00:00``, ``30`` minutes); None is the site's.
        partition, account, qos, constraint: as the site wants them.
        array: ``0-4``: one task each, ``seed_everything`` is its number unless there are ``lines``.
        lines: file whose line i contains the arguments of array task i (see the package).
        after: job that must have succeeded before.
        warning_seconds: seconds before the time limit at which the job saves and requeues.
        options: further ``sbatch`` options, as they are.
    """

    recipe: str
    root: Path
    words: list[str] = field(default_factory=list)
    nodes: int = 1
    gpus_per_node: int = 0
    tasks_per_node: int = 1
    cpus_per_task: int | None = None
    time: str | None = None
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    array: str | None = None
    lines: Path | None = None
    after: str | None = None
    warning_seconds: int = WARNING_SECONDS
    options: list[str] = field(default_factory=list)

    @property
    def per_node(self) -> int:
        """Processes on each node."""
        return self.gpus_per_node or self.tasks_per_node

    @property
    def folder(self) -> Path:
        """Folder of the runs and logs of this recipe."""
        return self.root.absolute() / self.recipe

    def identity(self, number: str) -> str:
        """The run's name, and its log's, for a job number; ``%a`` is an array task's."""
        return f"slurm-{number}_%a" if self.array else f"slurm-{number}"

    def command(self) -> list[str]:
        """The ``sbatch`` command."""
        log = self.folder / ("slurm-%A_%a.log" if self.array else "slurm-%j.log")
        options = {
            "job-name": f"genlab:{self.recipe}",
            "nodes": self.nodes,
            "ntasks-per-node": self.per_node,
            "gpus-per-node": self.gpus_per_node or None,
            "cpus-per-task": self.cpus_per_task,
            "time": self.time,
            "signal": f"USR1@{self.warning_seconds}",
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "array": self.array,
            "dependency": f"afterok:{self.after}" if self.after else None,
            "kill-on-invalid-dep": "yes" if self.after else None,  # else it waits for ever
            "output": log,
            "export": "ALL",
        }
        given = [f"--{name}={value}" for name, value in options.items() if value is not None]
        script = str(slurm.script())
        return ["sbatch", "--parsable", *given, *self.options, script, *self.words]


def submit(job: Job) -> str:
    """Queue a job; returns its number.

    Raises:
        SlurmError: no sbatch, or Slurm refuses; in one line.
        RunError: the folder of runs cannot be written.
    """
    slurm.require("sbatch")
    try:
        job.folder.mkdir(parents=True, exist_ok=True)  # Slurm opens the log before the job begins
        probe = job.folder / f".writable-{os.getpid()}"
        probe.write_text("full disks take names, but no content\n")
        probe.unlink()
    except OSError as error:
        raise RunError(
            f"cannot write the folder of runs {job.folder}: {error.strerror}\n"
            "choose another place with track.runs=DIR"
        ) from None
    try:
        answer = slurm.run(*job.command(), environment=_environment(job))
    except SlurmError:
        runs.drop_empty_folders([job.folder, *job.folder.parents[:2]])
        raise
    number = answer.strip().splitlines()[-1].partition(";")[0]
    if not number.isdigit():
        raise SlurmError(f"sbatch answered {answer.strip()!r} instead of a job number")
    return number


def _environment(job: Job) -> dict[str, str]:
    """Environment of the job, without this run's id and the variables of another Slurm job."""
    environment = {k: v for k, v in os.environ.items() if k not in OWN}
    if slurm.allocated():
        environment = {
            k: v for k, v in environment.items() if k == "SLURM_CONF" or not k.startswith("SLURM_")
        }
    environment |= {"GENLAB_PYTHON": sys.executable, "GENLAB_WARN": str(job.warning_seconds)}
    if job.lines:
        environment["GENLAB_LINES"] = str(job.lines.absolute())
    return environment


def shown(job: Job) -> str:
    """The command for reading, one option a line, without credentials."""
    words = recipes.without_credentials(job.command())
    return " \\\n    ".join(map(shlex.quote, words))


def check_time(job: Job) -> None:
    """Refuse a time limit that is none or leaves nothing before its warning, and odd jobs to await.

    Raises:
        SlurmError: the first of them.
    """
    if job.time and not TIME.fullmatch(job.time) and job.time.lower() not in ENDLESS:
        raise SlurmError(f"--time {job.time} is no time limit: 24:00:00, 1-12:00:00 or minutes")
    if job.after and not JOBS.fullmatch(job.after):
        raise SlurmError(f"--after {job.after} is not the number of a job")
    seconds, least = _seconds(job.time or ""), job.warning_seconds + EARLY_SECONDS
    if seconds is not None and seconds <= least:
        raise SlurmError(
            f"--time {job.time} is too short: --warn {job.warning_seconds} and the minute by which "
            f"Slurm may be early take {least} s; give more --time or less --warn"
        )


def _seconds(time: str) -> int | None:
    """Slurm's ``M``, ``M:S``, ``H:M:S``, ``D-H``, ``D-H:M`` or ``D-H:M:S``; else None."""
    found = TIME.fullmatch(time)
    if found is None:
        return None
    days, *parts = (int(part) if part else None for part in found.groups())
    a, b, c = (part or 0 for part in parts)
    if days is None and parts[2] is None:
        return 60 * a + b
    return 86400 * (days or 0) + 3600 * a + 60 * b + c


def check_array(text: str) -> None:
    """Refuse a malformed list of array tasks.

    Raises:
        SlurmError: the list is malformed.
    """
    if not re.fullmatch(r"\d+(-\d+(:\d+)?)?(,\d+(-\d+(:\d+)?)?)*(%\d+)?", text):
        raise SlurmError(f"--array-of-seeds {text} is not a list such as 0-4, 1,3,7 or 0-9%2")
    for first, last in re.findall(r"(\d+)-(\d+)", text):
        if int(first) > int(last):
            raise SlurmError(f"--array-of-seeds {text} ends before it begins: {first}-{last}")
