"""Record of a run in its directory: facts at the start, metrics and a summary at the end."""

from __future__ import annotations

import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L

from genlab import process, recipes, runs
from genlab.files import replacing, rewriting, shown_path
from genlab.internals import lightning_parts
from genlab.training.changes import SPLITS, Change, digest, old_splits
from genlab.training.provenance import code, data, same_run

if TYPE_CHECKING:
    from genlab.training.building import Lab


# Columns of metrics.csv and keys of metrics.json that a clock decides; all others are the straight
# run's to the bit, wherever a run was killed and continued.
MEASURED = ("train/images_per_second", "fit_seconds")


def facts(
    lab: Lab, run: Path, checkpoint: Path | None, step: int, changes: Sequence[Change]
) -> dict[str, Any]:
    """Content of run.json: facts of this start, and a history of all.

    Args:
        lab: objects of the recipe.
        run: the run directory.
        checkpoint: file that the run continues from.
        step: its optimiser steps.
        changes: settings that this start changes.
    """
    from genlab.training.class_names import kept
    from genlab.training.tracking.settings import wandb_identity

    old = runs.read_json(run / "run.json")
    parents = _parents(lab, old)
    start, found = _start(lab, old, parents, step, changes)
    starts = [*history(old), start]
    found |= {
        "recipe": lab.recipe.name,
        "id": run.name,
        "wandb_id": old.get("wandb_id") or wandb_identity(run),
        "seed": lab.config.get("seed_everything", 0),
        "started": old.get("started", start["time"]),
        "starts": runs.whole_number(old.get("starts")) + 1,
        "resumed_from": str(checkpoint.relative_to(run)) if checkpoint else None,
        "command": start["command"],
        "history": starts,
        same_run.KEY: same_run.of_history(starts),
    }
    found |= _machine(lab) | kept(lab) | _splits(lab)
    return found | ({"parents": parents} if parents else {})


def _start(
    lab: Lab, old: dict[str, Any], parents: dict[str, Any], step: int, changes: Sequence[Change]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """This start as the history tells of it, and facts of its code and data."""
    start: dict[str, Any] = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "step": step}
    start |= {"command": recipes.without_credentials(sys.argv[1:])}
    start |= {"changes": {c.key: c.values() for c in changes}}
    if not process.is_first():
        return start, {}
    start[same_run.KEY] = same_run.of_start(lab, parents)
    ours = code.now(lab.tracking.diff)
    lab.patches, found = ours.patches, ours.facts | {"data": data.facts(lab.data)}
    start |= {"git": found["git"]} if old and found["git"] != old.get("git") else {}
    return start, found


def _machine(lab: Lab) -> dict[str, Any]:
    """Where and with what a start trains."""
    return {
        "host": platform.node(),
        "device": str(lab.trainer.strategy.root_device),
        "world_size": lab.trainer.world_size,
        "versions": versions(),
        "slurm": {k: v for k, v in os.environ.items() if k in SLURM_FACTS},
    }


def history(old: dict[str, Any]) -> list[Any]:
    """The starts that a run.json tells of; one written by an older version knows the last."""
    known = old.get("history")
    if isinstance(known, list):
        return known
    if not old:
        return []
    return [{"time": old.get("started"), "step": None, "command": old.get("command")}]


def write(lab: Lab, run: Path, facts: dict[str, Any]) -> None:
    """Write recipe.yaml, run.json, splits.npz and labels.json, on the first process."""
    if not lab.trainer.is_global_zero:
        return
    kept = runs.read_json(run / "run.json").get("wandb_kept")  # until `WandbRun.repeat`
    facts = facts if kept is None else facts | {"wandb_kept": kept}
    named = recipes.foreign(lab.recipe.config) | lab.recipe.loaded
    recipes.trust.keep(run, named)
    text = recipes.dump(lab.recipe, lab.config)
    with replacing(run / "recipe.yaml") as draft:  # at its end this is a run
        draft.write_text(text)
        runs.write_json(run / "run.json", facts)
    code.write(run, lab.patches)
    _write_splits(lab, run)


def open_loggers(lab: Lab, run: Path, facts: dict[str, Any]) -> None:
    """Give the trainer its loggers, and its checkpoints the name of the run's recipe."""
    public = lab.config | {"run": code.without_files(facts)}
    loggers = lab.tracking.started(run, lab.recipe.name, public)
    lightning_parts.set_loggers(lab.trainer, loggers)
    lab.checkpoints.stamp = {"recipe": lab.config, "name": lab.recipe.name}
    lab.checkpoints.stamp |= {key: facts[key] for key in STAMPED if key in facts}


class FirstStep(L.Callback):
    """Write the files of a continued run once it has trained, and not before.

    A start that fails at once leaves the run as it was: with its recipe, which can be continued.

    Args:
        write: function that writes them.
    """

    def __init__(self, write: Callable[[], None]) -> None:
        self._write: Callable[[], None] | None = write
        self._step = -1

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        if trainer.global_step != self._step:
            self.write()

    def write(self) -> None:
        """Write them, unless that is done: at the latest when training has ended."""
        if self._write is not None:
            self._write()
            self._write = None


class Former:
    """The files of a run as they were before a start, to be put back.

    Args:
        run: the run directory.
    """

    def __init__(self, run: Path) -> None:
        names = ("recipe.yaml", "run.json", "metrics.csv")
        self._files = {run / n: (run / n).read_bytes() for n in names if (run / n).is_file()}

    def put_back(self) -> None:
        """Replace the files that have changed."""
        for file, content in self._files.items():
            if not file.is_file() or file.read_bytes() != content:
                with replacing(file) as draft:
                    draft.write_bytes(content)


def _parents(lab: Lab, old: dict[str, Any]) -> dict[str, Any]:
    """Identities of the networks that training starts from, printed at a run's first start."""
    from genlab import checkpoints

    if old:
        return old["parents"] if isinstance(old.get("parents"), dict) else {}
    if not lab.trainer.is_global_zero:
        return {}
    settings = lab.config["model"]["init_args"] | lab.recipe.arguments("model")  # whole addresses
    found = checkpoints.parents(settings)
    for name, facts in found.items():
        print(f"{name}: {checkpoints.in_words(facts)}", file=sys.stderr)
    return found


def _splits(lab: Lab) -> dict[str, str]:
    """The fingerprint of the splits, on the process that has set up the data and writes files."""
    splits = getattr(lab.data, "splits", None)
    return {SPLITS: digest(splits())} if splits is not None and process.is_first() else {}


# facts that checkpoints hold too
STAMPED = ("classes", "num_classes", "parents", same_run.KEY, SPLITS)
USED = ("genlab", "torch", "lightning", "torchvision", "timm", "torchmetrics", "numpy", "pillow",
        "simplejpeg", "scikit-learn", "jsonargparse")  # fmt: skip
SLURM_FACTS = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_NODELIST",
               "SLURM_RESTART_COUNT")  # fmt: skip


def _write_splits(lab: Lab, run: Path) -> None:
    splits = getattr(lab.data, "splits", None)
    if splits is not None and not old_splits(run):
        import numpy as np

        with rewriting(run / "splits.npz") as file:
            np.savez_compressed(file, **splits())
    labels = getattr(lab.data, "label_record", None)
    if labels is not None and not runs.read_json(run / "labels.json"):
        runs.write_json(run / "labels.json", labels)


def versions() -> dict[str, str]:
    """Versions of Python, of the libraries that decide a result, and of what torch is built for."""
    import torch

    found = {"python": platform.python_version()} | {name: metadata.version(name) for name in USED}
    built = {"cuda": torch.version.cuda, "hip": torch.version.hip}
    if torch.cuda.is_available():
        built |= {"cudnn": str(torch.backends.cudnn.version())}
    return found | {name: version for name, version in built.items() if version}


def last_validation(run: Path) -> dict[str, float]:
    """The last values of ``val/`` in metrics.csv, and ``val_step``, the optimiser step they are of.

    A start that only tests has none of its own, and a run can end between two validations.
    """
    from genlab.training.tracking.csv_log import CSVLog

    found = dict[str, float]()
    for row in CSVLog(run / "metrics.csv").rows():
        values = dict[str, float]()
        for key, value in row.items():
            with suppress(ValueError):  # empty, or edited by hand
                values |= {key: float(value)} if key.startswith("val/") else {}
        found |= values | ({"val_step": int(row["step"]) + 1} if values else {})
    return found


def finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON lacks, by their names."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def summary(run: Path, final: dict[str, Any], limit: str) -> None:
    """A table of the last epoch next to the selected one and its test, and where things are.

    Where steps follow the last validation, its column names its step; the line above says which
    step was selected. Columns without a metric are left out, and the table where there is none.
    ``limit`` is what ended training, ``max_epochs`` or ``max_steps``.
    """
    from rich.console import Console
    from rich.table import Table

    title = f"after {final['step']:,} steps, {final['fit_seconds']:.0f} s of training"
    if "best/step" in final:
        title += f"; selected: step {final['best/step']:,}"
    step = final.get("val_step", final["step"])
    last = "last epoch" if step == final["step"] else f"step {step:,.0f}"
    columns = {"val": last, "best/val": "selected", "test": "test"}
    kinds = [kind for kind in columns if any(key.startswith(f"{kind}/") for key in final)]
    table = Table()
    table.add_column("")
    for kind in kinds:
        table.add_column(columns[kind], justify="right")
    nouns = [k.partition("/")[2] for k in final if k.split("/")[0] in ("val", "test")]
    for noun in dict.fromkeys(nouns):
        row = [final.get(f"{kind}/{noun}") for kind in kinds]
        table.add_row(noun, *("" if v is None else f"{v:.4g}" for v in row))
    print(title)
    if nouns:
        Console().print(table)
    shown = shown_path(run)
    shown = shlex.quote(shown)
    print(f"run       {shown}\nmetrics   {shown}/metrics.json, metrics.csv")
    if any((run / "pictures").glob("*.png")):
        print(f"images    {shown}/pictures/")
    print(f"next      genlab evaluate {shown}")
    print(f"          genlab fit --resume {shown} trainer.{limit}=N")
