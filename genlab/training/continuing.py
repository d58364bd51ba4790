"""Going on with a run from its newest checkpoint, in its own directory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genlab import process, recipes, runs
from genlab.errors import RecipeError, RunError
from genlab.files import step_of
from genlab.internals import lightning_parts
from genlab.recipes import Recipe
from genlab.training import changes, record
from genlab.training.changes import Change
from genlab.training.endings import early_refusals, restoring

if TYPE_CHECKING:
    from genlab.training.building import Lab

PARTS = {"global_step": int, "loops": dict, "optimizer_states": list, "callbacks": dict}


def newest(run: Path) -> Path | None:
    """A run's newest whole checkpoint; None when it was stopped before the first one.

    Raises:
        RunError: there are checkpoints, all damaged; or a finished run has none.
    """
    damaged = list[str]()
    for file in runs.checkpoints(run):
        if runs.whole(file):
            damaged += [f.name for f in runs.checkpoints(run) if step_of(f) < 0]
            if damaged:
                names = ", ".join(dict.fromkeys(damaged))
                process.note(
                    f"damaged in {run}: {names}; {file.name} is the newest left", once=True
                )
            return file
        damaged.append(file.name)
    if damaged:
        raise RunError(f"every checkpoint of {run} is damaged: {', '.join(damaged)}")
    if runs.read_json(run / "metrics.json"):
        raise RunError(f"{run} has finished and has no checkpoint: there is nothing to go on from")
    return None


def content(checkpoint: Path) -> dict[str, Any]:
    """The content of a checkpoint that a training can go on from.

    Raises:
        RunError: it lacks a part of a training, or holds something else in its place.
    """
    from genlab.checkpoints import read

    found = read(checkpoint)
    for part, kind in PARTS.items():
        if not isinstance(found.get(part), kind):
            raise RunError(f"{checkpoint} cannot be continued: it has no {part} of a training")
    return found


def changes_of(
    run: Path, recipe: Recipe, found: dict[str, Any] | None, typed: bool
) -> list[Change]:
    """The settings that were others when the newest checkpoint was written.

    A former start that changed some may have been killed before its first checkpoint; recipe.yaml
    has them already, or has been edited. Where the checkpoint holds no recipe it is compared with
    recipe.yaml.

    Args:
        run: the run that is continued.
        recipe: its recipe, with the arguments of the command line.
        found: content of the checkpoint to go on from.
        typed: True if there are such arguments.

    Raises:
        RecipeError: one that cannot change.
    """
    stamp = (found or {}).get("genlab")
    former = recipes.of_checkpoint(stamp, f"a checkpoint of {run}") or recipes.of_run(run)
    changed = changes.between(former, recipe)
    changes.refuse_fixed(changed, f"--resume {run}" if typed else str(run / "recipe.yaml"))
    return changed


def take_from(found: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Let a continued run take inner models and weights from its own checkpoint, not from afar.

    Args:
        found: content of the checkpoint.
        recipe: its model's arguments are changed in place.

    Returns:
        The arguments as they were, for recipe.yaml: a run from the beginning needs them.
    """
    from genlab.checkpoints import without_download
    from genlab.training.sources import FROM_RUNS

    arguments, old = recipe.arguments("model"), found.get("hyper_parameters", {})
    own = without_download(arguments)
    taken = {name: arguments[name] for name in own if own[name] != arguments[name]}
    arguments |= own
    for name in FROM_RUNS:
        spec = f"{name}_spec"
        if arguments.get(name) and old.get(spec):
            taken |= {name: arguments.pop(name), spec: None}
            recipes.check(old[spec], recipe.trusted or ())
            arguments[spec] = old[spec]
    return dict(recipes.without_credentials(taken))


def is_done(lab: Lab, run: Path, checkpoint: Path, changed: list[Change]) -> bool:
    """True if a finished run was asked for no more than it has; nothing is written then.

    Raises:
        RecipeError: settings that no step would use.
    """
    final, trainer = runs.read_json(run / "metrics.json"), lab.trainer
    step = step_of(checkpoint)
    epochs, done = trainer.max_epochs or -1, final.get("epoch")
    enough = isinstance(done, int) and 0 < epochs <= done
    reached = 0 <= trainer.max_steps <= step or enough
    if final.get("step") != step or not reached:
        return False
    what = f"nothing left to do after step {step:,}: raise trainer.max_epochs or max_steps"
    if changed:
        keys = ", ".join(change.key for change in changed)
        raise RecipeError(what, f"--resume {run}", f"{keys} would change nothing")
    if process.is_first():
        print(what)
    return True


def go_on(lab: Lab, run: Path, checkpoint: Path | None, changed: list[Change]) -> None:
    """Train on from a checkpoint, or anew if there is none yet.

    A start that fails before its first checkpoint leaves the run's files as they were.
    """
    found: dict[str, Any] = content(checkpoint) if checkpoint else {"global_step": 0}
    if checkpoint:
        _check_finite(lab, checkpoint, found)
    facts = record.facts(lab, run, checkpoint, found["global_step"], changed)
    former = record.Former(run)
    record.open_loggers(lab, run, facts)
    ended = runs.read_json(run / "metrics.json").get("step") == found["global_step"]
    _cut_back(lab, found, ended)
    lab.checkpoints.has_stopped = _stopped_early(found) and not ended  # it was killed in its test
    _say_changes(lab, run, checkpoint, found["global_step"], changed)
    writing = record.FirstStep(lambda: record.write(lab, run, facts))
    lightning_parts.add_before(lab.trainer, writing, lab.checkpoints)
    _add_changes(lab, changed)
    try:
        with restoring(checkpoint), early_refusals(lab, run, new=False):
            lab.trainer.fit(lab.model, datamodule=lab.data, ckpt_path=checkpoint, weights_only=True)
    except BaseException:
        if process.is_first() and lab.checkpoints.newest is None:
            former.put_back()
        raise
    writing.write()


def _check_finite(lab: Lab, checkpoint: Path, found: dict[str, Any]) -> None:
    """Refuse to go on from weights that are not finite: no setting makes them finite again.

    Raises:
        RunError: as said, with the other checkpoints of the run.
    """
    weights = found.get("state_dict", {})
    kept = {name: weights[name] for name, _ in lab.model.named_parameters() if name in weights}
    wrong = [name for name, value in kept.items() if not value.isfinite().all()]
    if not wrong:
        return
    files = [f.name for f in runs.checkpoints(checkpoint.parent.parent) if f != checkpoint]
    hint = f"to go on from {files[0]}, move it away" if files else "begin again"
    raise RunError(
        f"{checkpoint} cannot be continued: {len(wrong)} of its {len(kept)} tensors are not "
        f"finite, first {wrong[0]}\n{hint}"
    )


def _stopped_early(found: dict[str, Any]) -> bool:
    """True if a checkpoint is of a training that early stopping has ended."""
    states = found.get("callbacks", {}).values()
    keys = ("stopped_epoch", "stopping_reason_message")  # the message alone in epoch 0
    return any(isinstance(state, dict) and any(map(state.get, keys)) for state in states)


def _cut_back(lab: Lab, content: dict[str, Any], ended: bool) -> None:
    """Let metrics.csv go on where the checkpoint was written; W&B gets rows again that it lost.

    The test of a run that had ``ended`` there stays.
    """
    from genlab.training.engine.epoch_metrics import KEY
    from genlab.training.tracking.csv_log import CSVLog
    from genlab.training.tracking.wandb_run import WandbRun

    step, rows = int(content["global_step"]), list[dict[str, str]]()
    for logger in lab.trainer.loggers:
        if isinstance(logger, CSVLog):
            logger.keep(content.get(KEY, {}).get("rows"), step, tests=ended)
            rows = logger.kept()
        elif isinstance(logger, WandbRun):  # after it
            logger.repeat(rows)


def _add_changes(lab: Lab, changed: list[Change]) -> None:
    """Let the changed arguments of model and data reach the restored optimisers."""
    from genlab.training.engine.changed_optimizers import ChangedOptimizers
    from genlab.training.parsing import parameters

    found = list[dict[str, tuple[Any, Any]]]()
    for group, owner in (("model", lab.model), ("data", lab.data)):
        known = parameters(type(owner)).items()
        defaults = {name: one.default for name, one in known if one.default is not one.empty}
        found.append(changes.arguments(changed, group, lab.config, defaults))
    if any(found):
        lightning_parts.add_first(lab.trainer, ChangedOptimizers(*found))


def _say_changes(
    lab: Lab, run: Path, checkpoint: Path | None, step: int, changed: list[Change]
) -> None:
    """Say from where a run goes on, and which settings are others from there."""
    if lab.trainer.is_global_zero:
        where = f"from step {step:,} ({checkpoint.name})" if checkpoint else "from the beginning"
        print(f"continuing {run} {where}", file=sys.stderr)
        for change in changed:
            print(change.line(step), file=sys.stderr)
