"""This process's place in a Slurm job, and the words that genlab says to Slurm's commands."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from genlab.runs import ID_VARIABLE, RUN_VARIABLE, RunError

FIRST_SPECIAL_STEP = 0xFFFFFFF0  # batch script, interactive shell ...: not started by srun
ATTEMPTS = 5


class SlurmError(RunError):
    """Slurm refused, or the launch does not fit the job; the message says what would do."""


def inside() -> bool:
    """Whether this process belongs to a Slurm job."""
    return "SLURM_JOB_ID" in os.environ


def job() -> str:
    """The job's name for ``scontrol``: an array task is not its array."""
    environ = os.environ
    if "SLURM_ARRAY_JOB_ID" in environ:
        return f"{environ['SLURM_ARRAY_JOB_ID']}_{environ['SLURM_ARRAY_TASK_ID']}"
    return environ.get("SLURM_JOB_ID", "")


def restarts() -> int:
    """How often Slurm has requeued this job."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def in_step() -> bool:
    """Whether srun started this process (and it is not the shell of ``salloc``)."""
    step = os.environ.get("SLURM_STEP_ID", "")
    return step.isdigit() and int(step) < FIRST_SPECIAL_STEP


def require(command: str) -> None:
    """Refuse to go on where one of Slurm's commands is missing.

    Raises:
        SlurmError: it is.
    """
    if shutil.which(command) is None:
        raise SlurmError(f"no {command} on the PATH: this is no Slurm cluster's login node")


def run(*words: str, environment: dict[str, str] | None = None) -> str:
    """Output of one of Slurm's commands.

    Args:
        words: the command.
        environment: variables on top of this process's; a run's own name stays behind.

    Raises:
        SlurmError: it is missing, or what it complains of, in one line.
    """
    require(words[0])
    own = {k: v for k, v in os.environ.items() if k not in (RUN_VARIABLE, ID_VARIABLE)}
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=120, env=own | (environment or {})
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SlurmError(f"{words[0]}: {error}") from None
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        why = said[-1] if said else f"exit code {done.returncode}"
        raise SlurmError(f"{words[0]} refused: {why.removeprefix(f'{words[0]}: error: ')}")
    return done.stdout


def state(name: str) -> str:
    """A job's state in one word, empty where Slurm does not know."""
    try:
        return run("squeue", "--noheader", "--jobs", name, "--format", "%T").strip()
    except SlurmError:
        return ""


def requeue(name: str) -> None:
    """Put a job back into the queue, with some patience for a busy controller.

    Raises:
        SlurmError: it cannot be requeued.
    """
    for attempt in range(ATTEMPTS):
        try:
            run("scontrol", "requeue", name)
            return
        except SlurmError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(1 + attempt)


def go_back(number: int) -> None:
    """Answer a signal before training: nothing is to be saved, so requeue this job and leave.

    Args:
        number: SIGUSR1, or SIGTERM; at that Slurm is about to end the job, but for the grace time
            of a preemption.
    """
    zero = os.environ.get("SLURM_PROCID", "0") == os.environ.get("LOCAL_RANK", "0") == "0"
    if number == signal.SIGTERM and not (zero and state(job()) == "RUNNING"):
        os._exit(0)
    if not zero:
        return  # rank zero speaks; SIGTERM follows
    try:
        requeue(job())
    except SlurmError as error:  # training will see the flag, and say so again
        print(f"genlab: {error}", file=sys.stderr, flush=True)
        return
    name = signal.Signals(number).name
    print(f"genlab: {name} before training; requeued job {job()}", file=sys.stderr, flush=True)
    os._exit(0)


def script() -> Path:
    """The job script: inside the installed package, or in the checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "_share" / "slurm"
    return (packaged if packaged.is_dir() else package.parent / "slurm") / "train.sbatch"


def note_refusal() -> None:
    """Tell the job script that a requeue would be refused in the same way."""
    file = os.environ.get("GENLAB_FAILURES")
    if file and inside():
        Path(file).write_text("refused\n")
