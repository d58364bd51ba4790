"""A line about a training that is about to be queued: memory that its GPUs lack."""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from genlab.errors import first_line
from genlab.planning import gpus
from genlab.planning.gpus import GB, Gpu
from genlab.recipes import Recipe

LIMIT = 90.0  # seconds that a job waits for its plan
AGAIN = 5.0  # seconds after which an alarm that some code has swallowed rings once more


class Late(BaseException):
    """The end of a plan that takes too long; no code of a method catches it."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """End what runs inside after a time, by an alarm, which only the main thread gets.

    Args:
        seconds: the time.

    Raises:
        Late: it is over.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(*_: Any) -> None:
        raise Late

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def gpu_of(kind: str | None, options: Iterable[str] = ()) -> Gpu | None:
    """The GPU that a job is going to get; None where nothing says it.

    Args:
        kind: its name, if the user says one.
        options: values of the job's options, such as a constraint or ``--gres=gpu:v100-32:4``; a
            name that several sizes share, such as ``a100``, stands for the smallest.

    Raises:
        RecipeError: an unknown kind.
    """
    if kind is None:
        return gpus.kind_in(options)
    return gpus.find(kind, "any other: --no-plan, and genlab plan --memory GB --tflops N")


def verdict(
    recipe: Recipe, gpu: Gpu | None, nodes: int, gpus_per_node: int, words: Sequence[str] = ()
) -> str | None:
    """A line that says by how much a recipe exceeds a GPU's memory; empty where it fits.

    None where there is no GPU or none is known, and where no plan can be made, for whatever
    reason, which is printed, or not in `LIMIT` seconds: a plan must not stop a job.

    Args:
        recipe: a resolved one; not changed.
        gpu: the GPU, see `gpu_of`.
        nodes: number of nodes.
        gpus_per_node: number of GPUs of each.
        words: recipe and settings as they were typed; else the recipe's name.
    """
    if gpu is None or gpus_per_node < 1:
        return None
    try:
        from genlab.planning.capacity import need
        from genlab.planning.fake import fake_step

        with limited(LIMIT):
            needed = need(fake_step(recipe, nodes * gpus_per_node))
    except Late:
        print(f"memory: not planned (took more than {LIMIT:g} s)", file=sys.stderr)
        return None
    except Exception as error:
        print(f"memory is not planned: {first_line(error)}", file=sys.stderr)
        return None
    if needed.fits(gpu):
        return ""
    typed = shlex.join(words or [recipe.name])
    command = f"{typed} --nodes {nodes} --gpus-per-node {gpus_per_node} --gpu {gpu.kind}"
    return (
        f"a GPU is going to need {needed.total / GB:,.1f} GB, and {gpu.kind} has "
        f"{gpu.memory:g} GB: see genlab plan {command}"
    )
