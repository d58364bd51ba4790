"""The memory of a job's GPUs, planned before it is queued."""

from __future__ import annotations

import copy
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from genlab import process
from genlab.cli.links import Link
from genlab.cluster import nodes
from genlab.cluster.submission import Job
from genlab.errors import RecipeError
from genlab.planning import queueing
from genlab.planning.gpus import Gpu
from genlab.recipes import COMMAND_LINE, Recipe


def gpus_of(chain: Sequence[Link], kind: str | None) -> list[Gpu | None]:
    """The GPU of each link whose memory is planned; None for none.

    Args:
        chain: the links.
        kind: ``--gpu``.

    Raises:
        RecipeError: an unknown kind, or one without GPUs.
    """
    found = [gpu_of(link.job, kind) for link in chain]
    if kind is not None and not any(link.job.gpus_per_node for link in chain):
        what = f"--gpu {kind} requires --gpus-per-node G, the number of GPUs of a node"
        raise RecipeError(what, COMMAND_LINE)
    return found


def gpu_of(job: Job, kind: str | None) -> Gpu | None:
    """The GPU that a job is going to get: as said, as its options name it, as sinfo does.

    Of nodes with several kinds the smallest counts; one that is not known leaves it open.

    Args:
        job: the job.
        kind: ``--gpu``.

    Raises:
        RecipeError: an unknown kind.
    """
    said = queueing.gpu_of(kind, [job.constraint or "", *job.options, job.partition or ""])
    if not job.gpus_per_node:
        return None
    found = [] if said else [queueing.gpu_of(None, [one]) for one in nodes.resources(job)]
    kinds = [one for one in found if one is not None]
    if said or not kinds or len(kinds) < len(found):
        return said
    return min(kinds, key=lambda one: one.memory)


def memory(
    recipe: Recipe,
    job: Job,
    gpu: Gpu | None,
    places: Mapping[str, Path | None],
    words: Sequence[str] = (),
) -> str | None:
    """The line of `queueing.verdict`; None where nothing could be planned.

    Args:
        recipe: a resolved one; not changed.
        job: its job.
        gpu: see `gpu_of`.
        places: runs that it starts from, or their stand-ins.
        words: recipe and settings as they were typed.
    """
    if gpu is None or None in places.values():
        return None
    whole = f"{recipe.name} on {job.nodes * job.gpus_per_node} {gpu.kind}"
    print(f"planning {whole} (--no-plan skips) ...", file=sys.stderr, flush=True)
    planned = copy.deepcopy(recipe)
    for key, place in places.items():
        planned.config["model"]["init_args"][key] = str(place)
    with process.notes_dropped():
        return queueing.verdict(planned, gpu, job.nodes, job.gpus_per_node, words)
