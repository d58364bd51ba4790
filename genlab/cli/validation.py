"""Building of what a job is going to train, before it is queued."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab.cluster import launch
from genlab.cluster.submission import Job, check_time
from genlab.errors import RecipeError, SlurmError
from genlab.recipes import COMMAND_LINE, Recipe

if TYPE_CHECKING:
    from genlab.training.building import Lab

GROUP = "model.init_args"


def validate(recipe: Recipe, job: Job, starts_from: Mapping[str, Path | None] = {}) -> Lab | None:
    """Build what the job is going to train, here and now, on one CPU process.

    Args:
        recipe: resolved and pre-checked; changed.
        job: its job.
        starts_from: arguments of the model that take runs which do not exist yet, each with a
            stand-in of its run; None where there is none, and no model can be made.

    Returns:
        What was built; None without a stand-in.

    Raises:
        RecipeError, SlurmError: what the job would refuse hours later.
    """
    trainer = recipe.config.setdefault("trainer", {})
    for key, value in (("nodes", job.nodes), ("gpus-per-node", job.gpus_per_node + 1),
                       ("tasks-per-node", job.tasks_per_node), ("warn", job.warning_seconds + 1),
                       ("cpus-per-task", 1 if job.cpus_per_task is None else job.cpus_per_task),
                       ):  # fmt: skip
        if value < 1:
            raise SlurmError(f"--{key} is too small")
    check_time(job)
    launch.arrange(trainer, job.nodes, job.per_node)
    world = job.nodes * max(job.per_node, _devices(trainer))
    lab = build_on_cpu(recipe, job.folder / "validation", starts_from)
    size = recipe.arguments("data").get("batch_size") if lab is None else None
    size = size if lab is None else getattr(lab.data, "batch_size", None)
    parts = int(trainer.get("accumulate_grad_batches") or 1)
    if isinstance(size, int):
        from genlab.data.sampling import check_share

        try:
            check_share(size, world, parts)
        except ValueError as error:
            where = f"{recipe.origin('data.init_args.batch_size')}, data.batch_size"
            raise RecipeError(str(error), where) from None
    return lab


def build_on_cpu(recipe: Recipe, run: Path, starts_from: Mapping[str, Path | None]) -> Lab | None:
    """Build a recipe on one CPU process; None where a network that it needs is unknown."""
    from genlab.training.building import build
    from genlab.training.refusals import check_groups

    trainer = recipe.config.setdefault("trainer", {})
    trainer |= {"accelerator": "cpu", "devices": 1, "num_nodes": 1}
    trainer |= {key: value for key, (_, value) in gpu_settings(recipe).items()}
    for key, stand_in in starts_from.items():
        recipe.config["model"]["init_args"][key] = str(stand_in) if stand_in else None
        recipe.origins[f"{GROUP}.{key}"] = COMMAND_LINE
    if None in starts_from.values():
        check_groups(recipe)
        return None
    return build(recipe, run)


def gpu_settings(recipe: Recipe) -> dict[str, tuple[Any, str]]:
    """Settings of a recipe's trainer that only GPUs can build, with what is built instead."""
    trainer, found = recipe.config.get("trainer") or {}, {}
    if str(precision := trainer.get("precision", "")).startswith(("16", "transformer-engine")):
        found["precision"] = precision, "32-true"
    return found


def _devices(trainer: dict[str, Any]) -> int:
    """Processes that a lone task starts by itself."""
    return int(trainer["devices"]) if str(trainer.get("devices")).isdigit() else 1
