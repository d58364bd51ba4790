"""CPUs of a task where nobody says how many: what a loader needs, or the node's share."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from genlab.cluster import slurm
from genlab.cluster.submission import Job
from genlab.errors import SlurmError

CPUS = 8  # of a task, as in slurm/train.sbatch
GPUS = re.compile(r"\bgpu(?::[\w.-]+)?:(\d+)")  # ``gpu:a100:4(S:0-1)`` -> 4
SECONDS = 20  # that a controller may take to answer


def cpus(job: Job) -> tuple[int, str]:
    """CPUs of each task of a job, and where the number comes from.

    Eight, or the share of a node where that is less: its CPUs divided by its GPUs, or by the tasks
    on it without GPUs. The smallest share counts of the nodes that the job may run on.

    Args:
        job: its partition, constraint, GPUs and tasks are read.
    """
    if job.cpus_per_task is not None:
        return job.cpus_per_task, "--cpus-per-task"
    try:
        found = list(_nodes(job))
    except SlurmError:
        return CPUS, "the default: sinfo does not tell of the nodes"
    shares = [(max(whole // parts, 1), whole, parts) for whole, parts, _ in found]
    if not shares or min(shares)[0] >= CPUS:
        return CPUS, "the default" + ("" if shares else ": sinfo knows no such node")
    share, whole, parts = min(shares)
    unit = "GPUs" if job.gpus_per_node else "tasks"
    return share, f"the share of a node with {whole} CPUs for {parts} {unit}"


def resources(job: Job) -> list[str]:
    """Generic resources of the nodes that a job may run on, such as ``gpu:a100:4``, each once."""
    with suppress(SlurmError):
        return list(dict.fromkeys(text for _, _, text in _nodes(job)))
    return []


def _nodes(job: Job) -> Iterator[tuple[int, int, str]]:
    """CPUs, GPUs (or tasks) and resources of each node that the job may run on."""
    words = [f"--partition={job.partition}"] if job.partition else []
    answer = slurm.run(
        "sinfo", "--noheader", "--Node", *words, "--format=%P|%c|%G|%f", seconds=SECONDS
    )
    rows = [cells for line in answer.splitlines() if len(cells := line.strip().split("|")) == 4]
    usual = [cells for cells in rows if cells[0].endswith("*")]
    plain = re.fullmatch(r"[\w.-]+", job.constraint or "")
    for _, count, named, features in rows if job.partition or not usual else usual:
        gpus = sum(map(int, GPUS.findall(named)))
        fits = not plain or job.constraint in features.split(",")
        if count.rstrip("+").isdigit() and gpus >= job.gpus_per_node and fits:
            yield int(count.rstrip("+")), gpus if job.gpus_per_node else job.tasks_per_node, named
