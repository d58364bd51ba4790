"""Train a recipe in a run directory of its own, or continue a run in its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import process, recipes, runs
from genlab.cluster import launch, signals, slurm
from genlab.errors import RecipeError, RunError
from genlab.internals import lightning_state
from genlab.recipes import Recipe
from genlab.training import changes, continuing, demands, length, record
from genlab.training.changes import Change
from genlab.training.endings import (
    EarlyEnd,
    early_refusals,
    faults,
    input_errors,
    leave,
    leave_failed,
    restoring,
)
from genlab.training.keeping import within_limit

if TYPE_CHECKING:
    from genlab.training.building import Lab


def fit(
    files: list[str], overrides: list[str], resume: str | None = None, one_device: bool = False
) -> Path:
    """Train a recipe in a new run directory, or continue a run in its own.

    Args:
        files: recipes, later over earlier.
        overrides: ``key=value`` settings, over all of them.
        resume: run to continue, in place of recipes.
        one_device: True if ``trainer.devices: auto`` means the first device.

    Returns:
        The run directory.

    Raises:
        EarlyEnd: training was stopped, or its data vanished; the run can be continued.
    """
    with process.notes_held():
        lab, folder, run, changed = _open(files, overrides, resume, one_device)
        checkpoint = continuing.newest(run) if run else None
        if run and checkpoint and continuing.is_done(lab, run, checkpoint, changed):
            return folder
        if process.is_first():
            _prepare(lab, run, checkpoint, changed)
    if process.is_first():
        _say_start(lab)
        runs.make(folder)
    with within_limit(lab), _owned(folder, new=run is None), faults(lab, folder):
        _train(lab, folder, run, checkpoint, changed)
    return folder


def _train(
    lab: Lab, folder: Path, run: Path | None, checkpoint: Path | None, changed: list[Change]
) -> None:
    """Train to the end, or to the checkpoint behind which training stops."""
    from genlab.training.engine.failure import NotFiniteError
    from genlab.training.engine.safe_requeue import Stopped

    try:
        if run:
            continuing.go_on(lab, run, checkpoint, changed)
        else:
            _begin(lab, folder)
        _say_early_stop(lab)
        _finish(lab, folder)
    except Stopped as stop:
        leave(lab, folder, stop)
        raise EarlyEnd(str(stop), stop.exit_code) from None
    except NotFiniteError as error:
        raise EarlyEnd(leave_failed(lab, folder, error.failure), 1) from None
    finally:
        if not slurm.inside():
            signals.let_go()


def show(files: list[str], overrides: list[str], resume: str | None = None) -> str:
    """Every setting that `fit` would train with, as YAML; nothing is written."""
    from genlab.training.building import all_settings

    lab = _open(files, overrides, resume)[0]
    _say_notes(lab.recipe)
    return all_settings(lab)


def _say_notes(recipe: Recipe) -> None:
    """Print the changes that arguments of the command line entailed in the recipe."""
    for note in recipe.notes:
        print(note, file=sys.stderr)


def _open(
    files: list[str], overrides: list[str], resume: str | None, one_device: bool = False
) -> tuple[Lab, Path, Path | None, list[Change]]:
    """Everything built; the directory to use; the run that is continued, and what changes in it."""
    if resume is not None and files:
        raise RecipeError(f"--resume continues {resume} with its own recipe, not with {files[0]}")
    recipes.refuse_untrained(resume or "")
    run = runs.find(resume).absolute() if resume is not None else None
    if run and os.path.isfile(str(resume)):
        raise RecipeError(f"--resume takes a run, not a file: genlab fit --resume {run}")
    recipe = recipes.of_run(run, overrides) if run else recipes.resolve(files, overrides)
    recipes.check_keys(recipe)
    folder = run or runs.directory(recipe.runs, recipe.name)
    if run is None and _requeued(folder):
        run, recipe, overrides = folder, recipes.of_run(folder), []
    checkpoint = continuing.newest(run) if run else None
    found = continuing.content(checkpoint) if checkpoint else None
    changed = continuing.changes_of(run, recipe, found, bool(overrides)) if run else []
    trainer = recipe.config.setdefault("trainer", {})
    before = launch.arrange(trainer, *launch.shape())
    if one_device and trainer.get("devices", "auto") in (None, "auto"):
        before, trainer["devices"] = before | {"devices": "auto"}, 1
    from genlab.training.building import build

    taken = continuing.take_from(found, recipe) if found else {}
    lab = build(recipe, folder)
    lab.config["model"]["init_args"] |= taken
    lab.config["trainer"] |= before  # how many processes is this job's affair
    return lab, folder, run, changed


def _requeued(folder: Path) -> bool:
    """True if this very Slurm job began the run in ``folder`` before it was requeued."""
    facts = runs.read_json(folder / "run.json").get("slurm")
    same = isinstance(facts, dict) and facts.get("SLURM_JOB_ID") == os.environ.get("SLURM_JOB_ID")
    return slurm.inside() and slurm.restarts() > 0 and runs.is_run(folder) and same


def _begin(lab: Lab, run: Path) -> None:
    """Train from the beginning in a new run directory."""
    facts = record.facts(lab, run, None, 0, [])
    record.write(lab, run, facts)
    record.open_loggers(lab, run, facts)
    with early_refusals(lab, run, new=True):
        lab.trainer.fit(lab.model, datamodule=lab.data)


def _say_early_stop(lab: Lab) -> None:
    from genlab.training.engine.early_stops import why_stopped

    for stopper in lab.trainer.early_stopping_callbacks if process.is_first() else []:
        if why := why_stopped(stopper):
            print(f"stopped early in epoch {stopper.stopped_epoch + 1}: {why}", file=sys.stderr)


def _prepare(lab: Lab, run: Path | None, checkpoint: Path | None, changed: list[Change]) -> None:
    """Load the data and try the batches, so that errors are reported before a run begins."""
    from genlab.checkpoints import read, restore
    from genlab.training.engine.early_stops import refuse_unvalidated

    lab.data.trainer = lab.trainer
    content = read(checkpoint) if checkpoint else {}
    with input_errors(lab.recipe), restoring(checkpoint):
        lab.data.prepare_data()
        lab.data.setup("fit")
        if run:
            stamp = content.get("genlab")
            changes.refuse_other_data(lab, run, changed, stamp if isinstance(stamp, dict) else {})
        refuse_unvalidated(lab.trainer, lab.data)
        demands.refuse_unlabelled(lab)
        demands.refuse_views(lab)
        demands.refuse_splits(lab)
        demands.refuse_other_levels(lab)
        loader = lab.data.train_dataloader()
        length.note_early_end(lab.trainer, loader)
        length.note_waiting(lab.model, lab.trainer, loader)
        if not hasattr(loader, "check_state"):  # of a plain LightningDataModule
            demands.refuse_other_batches(next(iter(loader)), type(lab.data).__name__)
        if checkpoint is not None and hasattr(loader, "check_state"):
            changes.refuse_lost_average(lab, content)
            with changes.shapes(changed):
                restore(lab.model, content, checkpoint).train()
            for one in lightning_state.loader_states(content):
                loader.check_state(one)


def _say_start(lab: Lab) -> None:
    """Print what the training that begins is: its classes, changes and sizes."""
    from genlab.training import class_names

    class_names.pin(lab)
    _say_notes(lab.recipe)
    _say_batch(lab)
    demands.say_accumulation(lab)


def _say_batch(lab: Lab) -> None:
    size = int(getattr(lab.data, "batch_size", 0))
    world, accumulate = lab.trainer.world_size, lab.trainer.accumulate_grad_batches
    parameters = sum(p.numel() for p in lab.model.parameters() if p.requires_grad)
    each = size // (world * accumulate)
    parts = f"{each} per device x {world} devices x {accumulate} accumulated"
    print(
        f"{lab.recipe.name}: {type(lab.model).__name__}, {parameters:,} parameters; "
        f"global batch {size}{_unlabelled(lab.data)} = {parts}",
        file=sys.stderr,
    )


def _unlabelled(data: Any) -> str:
    """The unit of a batch size where most images have no label."""
    few = getattr(data, "few", None)
    return f" labelled images (and {few.plan.ratio} times as many others)" if few else ""


@contextmanager
def _owned(run: Path, new: bool) -> Iterator[None]:
    """The run directory locked for this launch, and its name withdrawn from the environment.

    Raises:
        RunError: another process trains in it, or a ``new`` one holds a run already.
    """
    try:
        handle = runs.lock(run) if process.is_first() else None
    except OSError:
        runs.drop_empty(run)
        raise
    try:
        if handle is not None:
            if new and runs.is_run(run):  # asked under the lock: of two starts one trains
                raise RunError(f"{run} contains a run already; continue it with --resume {run}")
            runs.sweep(run)
        yield
    finally:
        os.environ.pop(runs.RUN_VARIABLE, None)
        if handle is not None:
            handle.close()


def _finish(lab: Lab, run: Path) -> None:
    """Test the selected weights once, write metrics.json, print a summary.

    Logs:
        fit_seconds (s, lower): wall time of training over all starts of the run, in metrics.json.
        val_step (steps): optimiser steps at the last validation, in metrics.json.
        test_checkpoint (file): checkpoint that was tested, in metrics.json.
        best/step (steps): optimiser steps at the best validation, in metrics.json.
        best/epoch (epochs): epochs at the best validation, in metrics.json.
        best/val/<metric> (that of the metric): value at the best validation by checkpoint.monitor,
            in metrics.json.
    """
    from genlab.training import evaluations
    from genlab.training.tracking import ending

    trainer, best = lab.trainer, lab.checkpoints.best
    last = record.last_validation(run) | {k: float(v) for k, v in trainer.callback_metrics.items()}
    final: dict[str, Any] = {"step": trainer.global_step, "epoch": trainer.current_epoch}
    final |= {"fit_seconds": round(lab.checkpoints.seconds, 2)} | last
    if best:
        final |= {"best/step": best["step"], "best/epoch": best["epoch"]}
        final |= {f"best/{k}": v for k, v in best["metrics"].items() if k.startswith("val/")}
    if lab.tracking.test_after_fit and has_test(lab):
        weights = lab.checkpoints.best_path or run / "checkpoints" / "last.ckpt"
        trainer.test(
            lab.model, datamodule=lab.data, ckpt_path=weights, weights_only=True, verbose=False
        )
        tested = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("test/")}
        final |= tested | {"test_checkpoint": weights.name}
    former, written = runs.read_json(run / "metrics.json"), dict[str, Any]()
    if trainer.is_global_zero:
        written = {k: record.finite(v) for k, v in final.items()} | evaluations.still(run)
        runs.write_json(run / "metrics.json", written)
        limit = "max_steps" if 0 <= trainer.max_steps <= trainer.global_step else "max_epochs"
        record.summary(run, final, limit)
        _seal(run)
    ending.conclude(trainer, written, former)


def _seal(run: Path) -> None:
    if (run / "links").is_dir():
        from genlab.training.proof import files

        files.seal(run)


def has_test(lab: Lab) -> bool:
    """True if the method measures itself on the test split; self-supervised ones do not."""
    import lightning as L

    return type(lab.model).test_step is not L.LightningModule.test_step
