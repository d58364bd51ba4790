"""Record of a run in its directory: facts at the start, metrics and a summary at the end."""

from __future__ import annotations

import math
import os
import platform
import shlex
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import recipes, runs
from genlab.files import replacing, rewriting

if TYPE_CHECKING:
    from genlab.training.building import Lab


def begin(lab: Lab, run: Path, checkpoint: Path | None) -> dict[str, Any]:
    """Write recipe.yaml, run.json, splits.npz and labels.json; return the run's facts."""
    from genlab.training.class_names import kept
    from genlab.training.tracking.settings import wandb_identity

    old = runs.read_json(run / "run.json")
    facts = (
        {
            "recipe": lab.recipe.name,
            "id": run.name,
            "wandb_id": old.get("wandb_id") or wandb_identity(run),
            "seed": lab.config.get("seed_everything", 0),
            "started": old.get("started", time.strftime("%Y-%m-%dT%H:%M:%S%z")),
            "starts": int(old.get("starts", 0)) + 1,
            "resumed_from": str(checkpoint.relative_to(run)) if checkpoint else None,
            "command": sys.argv[1:],
            "git": _git(),
            "host": platform.node(),
            "device": str(lab.trainer.strategy.root_device),
            "world_size": lab.trainer.world_size,
            "versions": versions(),
            "slurm": {k: v for k, v in os.environ.items() if k in SLURM_FACTS},
        }
        | kept(lab)
        | {k: v for k, v in old.items() if k == "wandb_kept"}
    )  # until `WandbRun.repeat`
    if lab.trainer.is_global_zero:
        named = recipes.foreign(lab.recipe.config) | lab.recipe.loaded
        recipes.trust.keep(run, named)
        text = recipes.dump(lab.recipe, lab.config)
        with replacing(run / "recipe.yaml") as draft:  # at its end this is a run
            draft.write_text(text)
            runs.write_json(run / "run.json", facts)
        _write_splits(lab, run)
    return facts


SLURM_FACTS = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_NODELIST",
               "SLURM_RESTART_COUNT")  # fmt: skip


def _write_splits(lab: Lab, run: Path) -> None:
    splits = getattr(lab.data, "splits", None)
    if splits is not None and not runs.whole(run / "splits.npz"):
        import numpy as np

        with rewriting(run / "splits.npz") as file:
            np.savez_compressed(file, **splits())
    labels = getattr(lab.data, "label_record", None)
    if labels is not None and not (run / "labels.json").exists():
        runs.write_json(run / "labels.json", labels)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide a result."""
    names = ("genlab", "torch", "lightning", "torchvision", "timm", "torchmetrics", "numpy")
    return {"python": platform.python_version()} | {n: metadata.version(n) for n in names}


def _git() -> str | None:
    """Revision of the checkout that the command runs in, with ``+`` when it is changed."""

    def git(*words: str) -> str:
        command = ["git", "-c", "core.fsmonitor=", *words]  # a folder's settings start no program
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        revision = git("rev-parse", "HEAD")
        return revision + ("+" if git("status", "--porcelain", "-uno") else "") or None
    except (OSError, subprocess.SubprocessError):
        return None


def last_validation(run: Path) -> dict[str, float]:
    """The last values of ``val/`` in metrics.csv: a start that only tests has none of its own."""
    from genlab.training.tracking.csv_log import CSVLog

    found = dict[str, float]()
    for row in CSVLog(run / "metrics.csv").rows():
        found |= {k: float(v) for k, v in row.items() if k.startswith("val/") and v}
    return found


def finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by their names."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def summary(run: Path, final: dict[str, Any], limit: str) -> None:
    """A table of the last epoch next to the selected one and its test, and where things are.

    ``limit`` is what ended training, ``max_epochs`` or ``max_steps``.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"after {final['step']:,} steps, {final['fit_seconds']:.0f} s of training")
    for column in ("", "last epoch", "selected", "test"):
        table.add_column(column, justify="left" if not column else "right")
    nouns = [k.partition("/")[2] for k in final if k.split("/")[0] in ("val", "test")]
    for noun in dict.fromkeys(nouns):
        row = [final.get(f"{kind}/{noun}") for kind in ("val", "best/val", "test")]
        table.add_row(noun, *("" if v is None else f"{v:.4g}" for v in row))
    Console().print(table)
    shown = os.path.relpath(run) if run.is_relative_to(Path.cwd()) else str(run)
    shown = shlex.quote(shown)
    print(f"run       {shown}\nfigures   {shown}/metrics.json, metrics.csv")
    if any((run / "pictures").glob("*.png")):
        print(f"images  {shown}/pictures/")
    print(f"next      genlab evaluate {shown}")
    print(f"          genlab fit --resume {shown} trainer.{limit}=N")
