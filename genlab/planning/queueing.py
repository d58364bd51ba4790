"""A line about a training that is about to be queued: memory that its GPUs lack."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence

from genlab.errors import first_line
from genlab.planning import gpus
from genlab.planning.gpus import GB, Gpu
from genlab.recipes import Recipe


def gpu_of(kind: str | None, options: Iterable[str] = ()) -> Gpu | None:
    """The GPU that a job is going to get; None where nothing says it.

    Args:
        kind: its name, if the user says one.
        options: values of the job's options, such as a constraint or ``--gres=gpu:v100-32:4``; a
            name that several sizes share, such as ``a100``, stands for the smallest.

    Raises:
        RecipeError: an unknown kind.
    """
    return gpus.find(kind) if kind is not None else gpus.kind_in(options)


def verdict(
    recipe: Recipe, gpu: Gpu | None, nodes: int, gpus_per_node: int, words: Sequence[str] = ()
) -> str | None:
    """A line that says by how much a recipe exceeds a GPU's memory; empty where it fits.

    None where there is no GPU or none is known, and where no plan can be made, for whatever
    reason, which is printed: a plan must not stop a job.

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

        needed = need(fake_step(recipe, nodes * gpus_per_node))
    except Exception as error:
        print(f"memory is not planned: {first_line(error)}", file=sys.stderr)
        return None
    if needed.fits(gpu):
        return ""
    typed = shlex.join(words or [recipe.name])
    return (
        f"a GPU is going to need {needed.total / GB:,.1f} GB, and {gpu.kind} has {gpu.memory:g}: "
        f"see genlab plan {typed} --nodes {nodes} --gpus-per-node {gpus_per_node} "
        f"--gpu {gpu.kind}"
    )
