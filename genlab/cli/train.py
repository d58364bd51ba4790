"""``fit``, ``validate`` and ``test``: a recipe through LightningCLI and a run directory around it."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import recipes, runs
from genlab.recipes import Recipe, RecipeError

if TYPE_CHECKING:
    from genlab.cli.build import Lab


def split_words(words: list[str]) -> tuple[list[str], list[str]]:
    """Recipe names and ``key=value`` overrides."""
    overrides = [w for w in words if "=" in w and not Path(w).exists()]
    return [w for w in words if w not in overrides], overrides


def fit(words: list[str], resume: str | None, print_config: bool) -> None:
    """Train a recipe in a new run directory, or continue a run in its own."""
    files, overrides = split_words(words)
    if resume is not None and files:
        raise RecipeError(f"--resume continues {resume} with its own recipe, not with {files[0]}")
    run = runs.find(resume) if resume is not None else None
    recipe = recipes.resolve([run / "recipe.yaml"] if run else files, overrides)
    recipes.check_keys(recipe)
    root = str((recipe.config.get("track") or {}).get("runs", "runs"))
    folder = run.absolute() if run else runs.directory(root, recipe.name)

    from genlab.cli.build import all_settings, build

    lab = build(recipe, folder)
    if print_config:
        print(all_settings(lab), end="")
        return
    _prepare(lab)
    if _launches():
        runs.make(folder)
        if not run and runs.is_run(folder):
            raise runs.RunError(f"{folder} holds a run already; continue it with --resume {folder}")
    with _owned(folder):
        _fit(lab, folder, resuming=run is not None)


def _fit(lab: Lab, run: Path, resuming: bool) -> None:
    checkpoint = runs.newest(run) if resuming else None
    facts = _record(lab, run, checkpoint)
    lab.trainer.loggers = lab.tracking.loggers(run, lab.recipe.name, lab.config | {"run": facts})
    lab.checkpoints.stamp = {"recipe": lab.config, "name": lab.recipe.name}
    if resuming:
        _cut_back(lab, checkpoint)
    start = time.perf_counter()
    lab.trainer.fit(lab.model, datamodule=lab.data, ckpt_path=checkpoint, weights_only=True)
    seconds = time.perf_counter() - start
    if lab.trainer.interrupted:
        raise KeyboardInterrupt
    _finish(lab, run, seconds)


def _prepare(lab: Lab) -> None:
    """Load the data and try the batch size, so that what is wrong is said before a run begins."""
    if not _launches():
        return
    lab.data.trainer = lab.trainer
    with input_errors(lab.recipe):
        lab.data.prepare_data()
        lab.data.setup("fit")
        lab.data.train_dataloader()
    if lab.trainer.is_global_zero:
        _say_batch(lab)


def _say_batch(lab: Lab) -> None:
    size = int(getattr(lab.data, "batch_size", 0))
    world, accumulate = lab.trainer.world_size, lab.trainer.accumulate_grad_batches
    parameters = sum(p.numel() for p in lab.model.parameters() if p.requires_grad)
    parts = (
        f"{size // (world * accumulate)} per device x {world} devices x {accumulate} accumulated"
    )
    print(
        f"{lab.recipe.name}: {type(lab.model).__name__}, {parameters:,} parameters; "
        f"global batch {size} = {parts}",
        file=sys.stderr,
    )


@contextmanager
def input_errors(recipe: Recipe) -> Iterator[None]:
    """Turn what data and model object to into an input error with the place."""
    try:
        yield
    except RecipeError:
        raise
    except (ValueError, FileNotFoundError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        raise RecipeError(
            "\n".join(lines[:2]), f"{recipe.name}" if len(lines) < 3 else ""
        ) from error


def _launches() -> bool:
    """Whether this process was started by the user rather than by a launcher's other rank."""
    names = ("LOCAL_RANK", "SLURM_LOCALID", "RANK")
    return all(os.environ.get(name, "0") == "0" for name in names)


@contextmanager
def _owned(run: Path) -> Iterator[None]:
    """The run directory locked for this launch, and its name withdrawn from the environment."""
    handle = runs.lock(run) if _launches() else None
    try:
        yield
    finally:
        os.environ.pop(runs.RUN_VARIABLE, None)
        if handle is not None:
            handle.close()


def _record(lab: Lab, run: Path, checkpoint: Path | None) -> dict[str, Any]:
    """Write recipe.yaml, run.json and splits.npz; return the run's facts."""
    old = runs.read_json(run / "run.json")
    facts = {
        "recipe": lab.recipe.name,
        "id": run.name,
        "wandb_id": old.get("wandb_id", run.name),
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
    if lab.trainer.is_global_zero:
        text = recipes.dump(lab.recipe, lab.config)
        temporary = run / ".recipe.yaml.tmp"
        temporary.write_text(text)
        os.replace(temporary, run / "recipe.yaml")
        runs.write_json(run / "run.json", facts)
        _write_splits(lab, run)
    return facts


SLURM_FACTS = ("SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_JOB_NODELIST",
               "SLURM_RESTART_COUNT")  # fmt: skip


def _write_splits(lab: Lab, run: Path) -> None:
    indices = getattr(lab.data, "split_indices", None)
    if indices is not None and not (run / "splits.npz").exists():
        import numpy as np

        np.savez_compressed(run / "splits.npz", **indices)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide a result."""
    names = ("genlab", "torch", "lightning", "torchvision", "timm", "torchmetrics", "numpy")
    return {"python": platform.python_version()} | {n: metadata.version(n) for n in names}


def _git() -> str | None:
    """Revision of the checkout that the command runs in, with ``+`` when it is changed."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], capture_output=True, text=True, timeout=10)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        revision = git("rev-parse", "HEAD")
        return revision + ("+" if git("status", "--porcelain", "-uno") else "") or None
    except (OSError, subprocess.SubprocessError):
        return None


def _cut_back(lab: Lab, checkpoint: Path | None) -> None:
    from genlab.callbacks import CSVLog
    from genlab.checkpoints import read

    step = int(read(checkpoint)["global_step"]) if checkpoint else -1
    for logger in lab.trainer.loggers:
        if isinstance(logger, CSVLog):
            logger.cut(step)
    if lab.trainer.is_global_zero:
        where = f"from step {step:,} ({checkpoint.name})" if checkpoint else "from the beginning"
        print(f"continuing {lab.trainer.default_root_dir} {where}", file=sys.stderr)


def _finish(lab: Lab, run: Path, seconds: float) -> None:
    """Test the selected weights once, write metrics.json, say what there is."""
    from genlab.callbacks import WandbRun

    trainer, best = lab.trainer, lab.checkpoints.best
    last = {k: float(v) for k, v in trainer.callback_metrics.items()}
    final: dict[str, Any] = {"step": trainer.global_step, "epoch": trainer.current_epoch}
    final |= {"fit_seconds": round(seconds, 2)} | last
    if best:
        final |= {"best/step": best["step"], "best/epoch": best["epoch"]}
        final |= {f"best/{k}": v for k, v in best["metrics"].items() if k.startswith("val/")}
    if lab.tracking.test_after_fit and _has_test(lab):
        weights = lab.checkpoints.best_path or run / "checkpoints" / "last.ckpt"
        trainer.test(
            lab.model, datamodule=lab.data, ckpt_path=weights, weights_only=True, verbose=False
        )
        tested = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("test/")}
        final |= tested | {"test_checkpoint": weights.name}
    if trainer.is_global_zero:
        old = runs.read_json(run / "metrics.json")
        final["fit_seconds"] += (
            old.get("fit_seconds", 0) if old.get("step", 0) < final["step"] else 0
        )
        runs.write_json(run / "metrics.json", {k: finite(v) for k, v in final.items()})
        _summary(run, final)
    for logger in trainer.loggers:
        if isinstance(logger, WandbRun):
            logger.close()


def _has_test(lab: Lab) -> bool:
    import lightning as L

    return type(lab.model).test_step is not L.LightningModule.test_step


def finite(value: Any) -> Any:
    """JSON knows no NaN: such a number becomes its name."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _summary(run: Path, final: dict[str, Any]) -> None:
    """A table of the last epoch beside the selected one and its test, and where things are."""
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
    print(f"run       {shown}\nfigures   {shown}/metrics.json, metrics.csv")
    if any((run / "pictures").glob("*.png")):
        print(f"pictures  {shown}/pictures/")
    print(
        f"next      genlab evaluate {shown}\n          genlab fit --resume {shown} trainer.max_epochs=N"
    )


# ------------------------------------------------------------------ measuring a run again


def open_run(words: list[str], ckpt: str | None = None) -> tuple[Lab, Path]:
    """Recipe and checkpoint that words like ``RUN``, ``CKPT`` or ``RECIPE --ckpt FILE`` mean.

    The method comes from the checkpoint, with its weights; data and trainer from the recipe, which
    lies in the run directory or, for a file on its own, inside the checkpoint.
    """
    files, overrides = split_words(words)
    if len(files) != 1:
        raise RecipeError("name one run, checkpoint or recipe")
    from genlab import checkpoints
    from genlab.cli.build import build

    file = Path(ckpt) if ckpt else runs.checkpoint(files[0])
    try:
        content = checkpoints.read(file)
        if ckpt:
            recipe = recipes.resolve(files, overrides)
        else:
            recipe = recipes.from_config(content.get("genlab", {}), str(file), overrides)
        recipes.check_keys(recipe)
        lab = build(recipe, file.parent.parent)
        lab.model = checkpoints.load(file)
    except checkpoints.CheckpointError as error:
        raise runs.RunError(str(error)) from None
    lab.data.trainer = lab.trainer
    with input_errors(recipe):
        lab.data.prepare_data()
        lab.data.setup("test")
    return lab, file


def _measure(kind: str, words: list[str], ckpt: str | None, as_json: bool) -> None:
    lab, file = open_run(words, ckpt)
    measure = getattr(lab.trainer, kind)
    measure(lab.model, datamodule=lab.data, verbose=False)
    figures = {k: finite(float(v)) for k, v in lab.trainer.callback_metrics.items()}
    report(file, figures, as_json)


def report(file: Path, figures: dict[str, Any], as_json: bool) -> None:
    """Print figures as a table or as JSON, with the checkpoint they belong to."""
    if as_json:
        print(json.dumps({"checkpoint": str(file)} | figures, indent=2))
        return
    print(f"checkpoint {file}")
    width = max(map(len, figures), default=0)
    for key, value in figures.items():
        print(
            f"  {key:<{width}}  {value:.6g}"
            if isinstance(value, float)
            else f"  {key:<{width}}  {value}"
        )


def validate(words: list[str], ckpt: str | None, json: bool) -> None:
    """Validation figures of a checkpoint."""
    _measure("validate", words, ckpt, json)


def test(words: list[str], ckpt: str | None, json: bool) -> None:
    """Test figures of a checkpoint."""
    _measure("test", words, ckpt, json)
