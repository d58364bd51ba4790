"""``submit``, ``jobs`` and ``cancel``: a training on a Slurm cluster, from its login node."""

from __future__ import annotations

import json as json_format
import math
import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from genlab import recipes, runs
from genlab.cli.arguments import job_options, split_words
from genlab.cluster import jobs as queue
from genlab.cluster import launch, slurm
from genlab.cluster.submission import Job, check_array, check_time, shown
from genlab.cluster.submission import submit as put
from genlab.errors import RecipeError, SlurmError
from genlab.recipes import COMMAND_LINE, Recipe

ELSEWHERE = ("fsdp", "deepspeed")  # strategies that only GPUs can build


def submit_options(parser: ArgumentParser) -> None:
    """Check a recipe and queue its training on a Slurm cluster."""
    parser.add_argument("words", nargs="*", metavar="RECIPE|FILE.yaml|key=value")
    parser.add_argument("--resume", metavar="RUN", help="continue this run in a new job")
    parser.add_argument("--array-of-seeds", metavar="0-4", help="one job for each seed")
    job_options(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the command only")


def jobs_options(parser: ArgumentParser) -> None:
    """List your genlab jobs."""
    parser.add_argument("--json", action="store_true")


def cancel_options(parser: ArgumentParser) -> None:
    """Cancel jobs; each saves first."""
    parser.add_argument("jobs", nargs="+")


def submit(
    words: list[str], resume: str | None, dry_run: bool, array_of_seeds: str | None, **wish: Any
) -> None:
    """Check a recipe, queue its training, and say where it is going to be."""
    files, overrides = split_words(words)
    if resume is not None and (files or array_of_seeds):
        raise RecipeError(f"--resume continues {resume} alone, with its own recipe", COMMAND_LINE)
    recipes.refuse_untrained(resume or "")
    run = runs.find(resume).absolute() if resume is not None else None
    recipe = recipes.of_run(run, overrides) if run else recipes.resolve(files, overrides)
    trust = [word for name in sorted(recipes.allowed_now()) for word in ("--trust", name)]
    recipes.check_keys(recipe)
    if array_of_seeds:
        check_array(array_of_seeds)
        _require_free_seed(overrides)
    root = recipe.runs
    job = Job(
        recipe=recipe.name,
        root=root,
        words=(["--resume", str(run)] if run else [*map(_absolute, files)]) + overrides + trust,
        array=array_of_seeds,
        options=wish.pop("sbatch"),
        **wish,
    )
    if not dry_run:
        slurm.require("sbatch")
    validate(recipe, job)
    if dry_run:
        print(shown(job))
        return
    number = put(job)
    place = job.folder / job.identity(number)
    print(f"job   {number}\nrun   {run or _short(place)}\nlog   {_short(place)}.log")
    print(f"next  genlab jobs, genlab cancel {number}")


def _require_free_seed(overrides: list[str]) -> None:
    for word in overrides:
        if word.removeprefix("--").startswith("seed_everything="):
            raise RecipeError(f"{word}: --array-of-seeds sets the seeds", COMMAND_LINE)


def _absolute(word: str) -> str:
    """A recipe file by its full path, a shipped recipe by its name."""
    return str(Path(word).absolute()) if os.path.exists(word) else word


def _short(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def validate(recipe: Recipe, job: Job) -> None:
    """Build what the job is going to train, here and now, on one CPU process.

    Raises:
        RecipeError, SlurmError: what the job would refuse hours later.
    """
    trainer = recipe.config.setdefault("trainer", {})
    for key, value in (("nodes", job.nodes), ("gpus-per-node", job.gpus_per_node + 1),
                       ("tasks-per-node", job.tasks_per_node), ("cpus-per-task", job.cpus_per_task),
                       ("warn", job.warning_seconds + 1)):  # fmt: skip
        if value < 1:
            raise SlurmError(f"--{key} is too small")
    check_time(job)
    launch.arrange(trainer, job.nodes, job.per_node)
    world = job.nodes * max(job.per_node, _devices(trainer))
    trainer |= {"accelerator": "cpu", "devices": 1, "num_nodes": 1}
    if str(trainer.get("strategy", "auto")).startswith(ELSEWHERE):
        trainer["strategy"] = "auto"
    if str(trainer.get("precision", "")).startswith(("16", "transformer-engine")):
        trainer["precision"] = "32-true"

    from genlab.training.building import build

    lab = build(recipe, job.folder / "validation")
    size, parts = getattr(lab.data, "batch_size", None), lab.trainer.accumulate_grad_batches
    if isinstance(size, int) and size % (world * parts):
        near = max(size // (world * parts), 1) * world * parts
        raise RecipeError(
            f"data.batch_size {size} is global: {world} processes x {parts} accumulated batches "
            "do not divide it",
            f"{recipe.origin('data.init_args.batch_size')}, data.batch_size",
            f"{near} would do",
        )


def _devices(trainer: dict[str, Any]) -> int:
    """Processes that a lone task starts by itself."""
    return int(trainer["devices"]) if str(trainer.get("devices")).isdigit() else 1


def jobs(json: bool) -> None:
    """List this user's genlab jobs with where their training is."""
    rows = queue.jobs()
    if json:
        print(json_format.dumps([row.as_dict() for row in rows], indent=2))
        return
    if not rows:
        print("no genlab jobs in the queue")
        return
    table = [("JOB", "RECIPE", "STATE", "TIME", "STEP", "IMAGES/S", "METRIC", "RUN")]
    for row in rows:
        state = f"{row.state} ({row.reason})" if row.reason else row.state
        metric = "" if row.value is None else f"{row.metric} {row.value:.4g}"
        table.append((
            row.job, row.recipe, state, f"{row.used}/{row.limit}", _number(row.step),
            _number(row.images_per_second), metric, _short(Path(row.run)) if row.run else row.log,
        ))  # fmt: skip
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        print("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())


def _number(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f"{value:,.0f}"


def cancel(jobs: list[str]) -> None:
    """Cancel genlab jobs; a training writes a last checkpoint before it goes."""
    known = {row.job: row.state for row in queue.jobs()}
    arrays = {name.partition("_")[0] for name in known if "_" in name}
    for job in jobs:
        if job not in known and job not in arrays:
            hint = f"there are: {', '.join(known)}" if known else "the queue holds none"
            raise SlurmError(f"no genlab job {job} of yours\n{hint}")
    slurm.run("scancel", *jobs)
    print(f"cancelled {', '.join(jobs)}", file=sys.stderr)
