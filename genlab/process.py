"""This process: inside a Slurm job or step, the first of its launch, its run's id, its notes."""

from __future__ import annotations

import gc
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from genlab.errors import RunError

ID_VARIABLE = "GENLAB_RUN_ID"  # name of a new run, when another program decides
_HELD: list[list[str]] = []  # notes of each `notes_held` around; all are in the outermost
_SAID: set[str] = set()
RARELY = (100_000, 20, 50)  # objects, collections of the young, and of the older
_USUALLY = gc.get_threshold()
FIRST_SPECIAL_STEP = 0xFFFFFFF0  # batch script, interactive shell ...: not started by srun


def collect_rarely() -> None:
    """Let Python's garbage collector wait while modules load: it takes a fifth of a start.

    None of the million objects that they make is garbage. `collect_as_usual` ends it.
    """
    gc.set_threshold(*RARELY)


def collect_as_usual() -> None:
    """Collect garbage as Python does by itself, if `collect_rarely` has changed that."""
    if gc.get_threshold() == RARELY:
        gc.set_threshold(*_USUALLY)


def in_job() -> bool:
    """True if Slurm started this process, through a batch script or srun.

    A shell of ``salloc`` or a notebook inside a job counts as a terminal: it starts many runs, and
    Ctrl-C ends one.
    """
    batch = os.environ.get("ENVIRONMENT") == "BATCH" and "JPY_PARENT_PID" not in os.environ
    return "SLURM_JOB_ID" in os.environ and (batch or in_step())


def in_step() -> bool:
    """True if srun started this process (and it is not the shell of ``salloc``)."""
    step = os.environ.get("SLURM_STEP_ID", "")
    return step.isdigit() and int(step) < FIRST_SPECIAL_STEP


def new_id() -> str:
    """An identity for a new run, the same on every process of one launch.

    The environment's GENLAB_RUN_ID, else the id of the Slurm job that started it or torchrun's run
    id (all tasks see the same), else the time and four random letters.
    """
    environ = os.environ
    if environ.get(ID_VARIABLE):
        return environ[ID_VARIABLE]
    if in_job() and "SLURM_ARRAY_JOB_ID" in environ:
        return f"slurm-{environ['SLURM_ARRAY_JOB_ID']}_{environ['SLURM_ARRAY_TASK_ID']}"
    if in_job():
        step = environ.get("SLURM_STEP_ID", "0")  # several `srun genlab fit` in one job
        return f"slurm-{environ['SLURM_JOB_ID']}" + (f".{step}" if step != "0" else "")
    if environ.get("TORCHELASTIC_RUN_ID", "none") != "none":
        return f"torchrun-{environ['TORCHELASTIC_RUN_ID']}"
    if "TORCHELASTIC_RUN_ID" in environ:  # torchrun without --rdzv-id: its own process is shared
        if environ.get("WORLD_SIZE") != environ.get("LOCAL_WORLD_SIZE"):
            raise RunError(
                "torchrun on several nodes requires --rdzv-id=NAME, the run's name on all"
            )
        return f"torchrun-{os.getppid()}-{environ.get('MASTER_PORT', '0')}"
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def is_first() -> bool:
    """True if this process is rank zero of its launch, the one that owns the run directory."""
    environ = os.environ
    if "RANK" in environ:
        return environ["RANK"] == "0"
    if "LOCAL_RANK" in environ:  # Lightning's own processes, inside a Slurm task or not
        return environ["LOCAL_RANK"] == "0" and environ.get("NODE_RANK", "0") == "0"
    return environ.get("SLURM_PROCID", environ.get("NODE_RANK", "0")) == "0"


def note(text: str, once: bool = False) -> None:
    """Print a note on standard error, on the first process; inside `notes_held` at its end.

    Args:
        text: one line or several.
        once: False repeats what this process has said before.
    """
    if not is_first() or (once and (text in _SAID or (_HELD and text in _HELD[0]))):
        return
    if _HELD:
        _HELD[0].append(text)
    else:
        _SAID.add(text)
        print(text, file=sys.stderr)


@contextmanager
def notes_held() -> Iterator[None]:
    """Hold notes back until the outermost block ends; where it fails they are dropped.

    A refusal then stands alone.
    """
    notes = list[str]()
    _HELD.append(notes)
    try:
        yield
    finally:
        _HELD.pop()
    for text in notes:
        note(text)


@contextmanager
def notes_dropped() -> Iterator[None]:
    """Drop the notes of a block: they are about something that the user never sees."""
    _HELD.append([])
    try:
        yield
    finally:
        _HELD.pop()
