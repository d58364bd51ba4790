"""This process's place in a Slurm job, and all calls of Slurm's commands."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from genlab.errors import SlurmError
from genlab.process import in_job

inside = in_job  # to stop, save and requeue as a job does
ATTEMPTS = 5
ALIVE = ("RUNNING", "SIGNALING")  # in any other state Slurm is ending the job already
FAILURES = "GENLAB_FAILURES"  # see the package's docstring
STARTS = 3  # that may end at a time limit before a new checkpoint
MARGIN = 30.0  # seconds before a time limit at which there is nothing more to wait for
_progressed = threading.Event()  # this start has written a checkpoint
_settling = threading.Lock()
_deadlines: list[threading.Timer] = []


class NoAnswerError(SlurmError):
    """Slurm does not say what it is doing with the job."""


def allocated() -> bool:
    """True if this process may use a job's resources: a shell of ``salloc`` too."""
    return "SLURM_JOB_ID" in os.environ


def job() -> str:
    """The job's name for ``scontrol``: an array task is not its array."""
    environ = os.environ
    if "SLURM_ARRAY_JOB_ID" in environ:
        return f"{environ['SLURM_ARRAY_JOB_ID']}_{environ['SLURM_ARRAY_TASK_ID']}"
    return environ.get("SLURM_JOB_ID", "")


def restarts() -> int:
    """The number of times Slurm has requeued this job."""
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def require(command: str) -> None:
    """Refuse to go on where one of Slurm's commands is missing.

    Raises:
        SlurmError: it is.
    """
    if shutil.which(command) is None:
        why = "not on a Slurm login node"
        if allocated():
            why = f"inside job {job()}, a container perhaps, it is missing"
        raise SlurmError(f"no {command} on the PATH: {why}")


def run(*words: str, environment: dict[str, str] | None = None, seconds: float = 120) -> str:
    """Output of one of Slurm's commands.

    Args:
        words: command and arguments.
        environment: its variables; this process's own by default.
        seconds: time limit of the command.

    Raises:
        SlurmError: it is missing, or what it complains of, in one line.
    """
    require(words[0])
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, timeout=seconds, env=environment
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SlurmError(f"{words[0]}: {error}") from None
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        why = said[-1] if said else f"exit code {done.returncode}"
        raise SlurmError(f"{words[0]} refused: {why.removeprefix(f'{words[0]}: error: ')}")
    return done.stdout


def state(name: str) -> str:
    """A job's state, empty where Slurm does not give it in three attempts."""
    for attempt in range(3 if shutil.which("squeue") else 0):
        time.sleep(attempt)
        try:
            return run("squeue", "--noheader", "--jobs", name, "--format", "%T", seconds=15).strip()
        except SlurmError:
            continue
    return ""


def requeue(name: str) -> None:
    """Put a job back into the queue, with some patience for a busy controller.

    In a container without scontrol the job script, which runs outside, is told to do it once
    training has ended.

    Raises:
        SlurmError: it cannot be requeued.
    """
    file = os.environ.get(FAILURES)
    if file and _by_script():
        with Path(file).open("a") as stream:
            stream.write("requeue\n")
        return
    require("scontrol")
    for attempt in range(ATTEMPTS):
        try:
            run("scontrol", "requeue", name)
            return
        except SlurmError:
            if attempt == ATTEMPTS - 1:
                raise
            time.sleep(1 + attempt)


def guard(number: int) -> None:
    """At SIGUSR1, requeue the job shortly before its limit unless training has stopped by then.

    A validation may be longer than the warning, a rank may hang. `settle` calls it off.
    """
    if number == signal.SIGUSR1 and first() and not _deadlines:
        warning = float(os.environ.get("GENLAB_WARN", "120"))
        _deadlines.append(threading.Timer(max(warning - MARGIN, warning / 2), _at_deadline))
        _deadlines[0].daemon = True
        _deadlines[0].start()


def _at_deadline() -> None:
    try:
        done = settle(signal.SIGUSR1)
    except SlurmError as error:
        note_refusal()
        done = str(error)
    print(f"genlab: training has not stopped before its limit; {done}", file=sys.stderr, flush=True)
    if _by_script():
        os._exit(1)  # srun ends the other ranks


def _by_script() -> bool:
    return shutil.which("scontrol") is None


def settle(number: int) -> str:
    """Requeue this job after a signal unless Slurm already does or ends it; describe the outcome.

    SIGTERM means that Slurm has decided, except in the grace time of a preemption, when the job is
    still running and would count as completed. A job that was cancelled after its SIGUSR1 must not
    come back.

    Args:
        number: SIGUSR1 or SIGTERM.

    Raises:
        NoAnswerError: SIGTERM, and Slurm does not say why.
        SlurmError: Slurm refuses to requeue, or starts are too slow for the time limit.
    """
    for deadline in _deadlines:
        deadline.cancel()
    with _settling:  # training may stop at the deadline
        return _settle(job(), number)


def _settle(name: str, number: int) -> str:
    now = state(name)
    at_limit = number == signal.SIGUSR1
    if now and now not in ALIVE:
        return f"Slurm has job {name} as {now}"
    if not now and not at_limit:
        raise NoAnswerError(f"Slurm does not say what it does with job {name}")
    if at_limit and note_failure("time limit") >= STARTS:
        raise SlurmError(
            f"{STARTS} starts ended before a new checkpoint: give more --time or less --warn"
        )
    requeue(name)
    return f"requeued job {name}"


def go_back(number: int) -> None:
    """Answer a signal before training: nothing is to be saved, so requeue this job and leave.

    Args:
        number: SIGUSR1, or SIGTERM; at that Slurm is about to end the job, but for the grace time
            of a preemption.
    """
    if not first():
        if number == signal.SIGTERM:
            os._exit(0)
        return  # rank zero speaks; SIGTERM follows
    try:
        done = settle(number)
    except NoAnswerError as error:
        _leave(str(error), 128 + signal.SIGTERM)
    except SlurmError as error:
        note_refusal()
        _leave(str(error), 2)
    _leave(f"{signal.Signals(number).name} before training; {done}", int(_by_script()))


def _leave(words: str, code: int) -> NoReturn:
    print(f"genlab: {words}", file=sys.stderr, flush=True)
    os._exit(code)


def first() -> bool:
    """True if this is rank zero of the job's step."""
    return os.environ.get("SLURM_PROCID", "0") == os.environ.get("LOCAL_RANK", "0") == "0"


def script() -> Path:
    """The job script: inside the installed package, or in the checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "_share" / "slurm"
    return (packaged if packaged.is_dir() else package.parent / "slurm") / "train.sbatch"


def note_refusal() -> None:
    """Tell the job script that a requeue would be refused in the same way."""
    file = os.environ.get(FAILURES)
    if file and inside():
        Path(file).write_text("refused\n")


def note_failed() -> None:
    """Tell the job script that training would fail again in the same way."""
    file = os.environ.get(FAILURES)
    if file and inside():
        Path(file).write_text("failed\n")


def note_failure(why: str) -> int:
    """Count a start that has ended without a new checkpoint.

    Args:
        why: reason in brief.

    Returns:
        The number of failures since the last checkpoint; 0 after `note_progress`, or without the
        job script.
    """
    name = os.environ.get(FAILURES)
    if not name or _progressed.is_set():
        return 0
    file = Path(name)
    with file.open("a") as stream:
        stream.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {why}\n")
    return len(file.read_text().splitlines())


def note_progress() -> None:
    """Forget earlier failures: this start has written a checkpoint."""
    file = os.environ.get(FAILURES)
    if file and first() and not _progressed.is_set():
        Path(file).unlink(missing_ok=True)
    _progressed.set()
