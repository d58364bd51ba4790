"""Checks that processes and job match, made before a rank waits for one that never comes."""

from __future__ import annotations

import os
import re
from typing import Any

from genlab import process
from genlab.cluster import slurm
from genlab.errors import SlurmError

HANDS_OFF = ("bash", "interactive")  # job names under which Lightning ignores Slurm
AUTO = (None, "auto", -1, "-1")


def torchrun() -> bool:
    """True if torchrun (or its agent) started this process; then its variables count."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def shape() -> tuple[int, int]:
    """Nodes and tasks per node that srun started together; (1, 1) outside a step.

    Raises:
        SlurmError: nodes with different numbers of tasks.
    """
    if not process.in_step():
        return 1, 1
    counts = task_counts(os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1"))
    if len(set(counts)) > 1:
        shown = ", ".join(map(str, counts))
        raise SlurmError(
            f"the nodes disagree: {shown} tasks; use --ntasks-per-node=N instead of --ntasks"
        )
    return len(counts), counts[0]


def task_counts(text: str) -> list[int]:
    """Slurm's ``2(x3),1`` -> ``[2, 2, 2, 1]``."""
    counts: list[int] = []
    for part in text.split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if found is None:
            raise SlurmError(f"SLURM_STEP_TASKS_PER_NODE is {text!r}, which is not a list of tasks")
        counts += [int(found[1])] * int(found[2] or 1)
    return counts


def check() -> None:
    """Refuse launches that would hang or train twice.

    Raises:
        SlurmError: several tasks were asked for and srun was not used; or srun was, in a job whose
            name makes Lightning ignore it.
    """
    if not slurm.allocated() or torchrun():
        return
    tasks = int(os.environ.get("SLURM_NTASKS", "1"))
    if not process.in_step() and tasks > 1 and "LOCAL_RANK" not in os.environ:
        raise SlurmError(
            f"this job has {tasks} tasks, but genlab was started without srun: srun genlab fit ..."
        )
    name = os.environ.get("SLURM_JOB_NAME", "")
    nodes, per_node = shape()
    if nodes * per_node > 1 and name in HANDS_OFF:
        raise SlurmError(
            f"Lightning ignores Slurm in a job named {name}: give another, --job-name=genlab"
        )


def arrange(trainer: dict[str, Any], nodes: int, per_node: int) -> dict[str, Any]:
    """Fill ``devices`` and ``num_nodes`` of a recipe's trainer from the job's shape.

    Args:
        trainer: the recipe's ``trainer`` mapping; changed.
        nodes: number of nodes of the job.
        per_node: tasks, that is processes, on each node.

    Returns:
        The recipe's own settings, which suit any job, for recipe.yaml.

    Raises:
        SlurmError: the recipe says other numbers.
    """
    before: dict[str, Any] = {}
    if nodes * per_node == 1:
        return before  # a lone task may start processes of its own: trainer.devices=2
    for key, number, unit in (("devices", per_node, "tasks a node"), ("num_nodes", nodes, "nodes")):
        given = trainer.get(key)
        if given in AUTO or str(given) == str(number) or (key == "num_nodes" and given == 1):
            before[key] = "auto" if key == "devices" else 1
            trainer[key] = number
            continue
        raise SlurmError(
            f"trainer.{key} is {given!r}, but the job has {number} {unit}: leave it out"
        )
    return before


def plugins() -> list[Any]:
    """The cluster environment for Lightning's trainer, where it would choose another."""
    if not slurm.allocated() or torchrun():
        return []
    from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment

    nodes, per_node = shape()
    if nodes * per_node == 1:
        return [LightningEnvironment()]
    os.environ["SLURM_NTASKS_PER_NODE"] = str(per_node)  # else the job's, or absent
    return [SLURMEnvironment(auto_requeue=False)]  # `SafeRequeue` does it, at a batch's end
