"""Early ends of a training: refused, stopped, or out of data."""

from __future__ import annotations

import shlex
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from genlab import process, runs
from genlab.cluster import slurm
from genlab.errors import InputError, RecipeError, RunError, fault_of, first_line, told
from genlab.files import step_of
from genlab.internals import lightning_parts, messages
from genlab.recipes import Recipe
from genlab.training.engine import peers
from genlab.training.engine.peers import Lost
from genlab.training.error_kinds import Kind, kind_of, unfit

INTERRUPTED = 130  # 128 + SIGINT

if TYPE_CHECKING:
    from genlab.training.building import Lab
    from genlab.training.engine.failure import Failure
    from genlab.training.engine.safe_requeue import Stopped


class EarlyEnd(Exception):
    """Training has ended early; what happened is printed, and the run can be continued.

    Args:
        what: description of what happened.
        code: exit code of a command that ends so.
    """

    def __init__(self, what: str, code: int) -> None:
        super().__init__(what)
        self.code = code


@contextmanager
def input_errors(recipe: Recipe) -> Iterator[None]:
    """Turn a refusal by data or model into an input error with its place."""
    from lightning.pytorch.utilities.exceptions import MisconfigurationException

    try:
        yield
    except RecipeError:
        raise
    except (ValueError, FileNotFoundError, MisconfigurationException) as error:
        from genlab.training.refusals import place_of

        lines = _lines(error)
        where = place_of(str(error), recipe) if len(lines) < 3 else ""
        raise RecipeError("\n".join(lines[:3]), where) from error


@contextmanager
def early_refusals(lab: Lab, run: Path, new: bool) -> Iterator[None]:
    """Turn refusals before the first checkpoint into input errors.

    The directory of a ``new`` run goes again; an error from anywhere else keeps its traceback.
    """
    from genlab.training.refusals import place

    try:
        yield
    except Exception as error:
        kind = kind_of(error, run, late=lab.checkpoints.newest is not None)
        if kind is Kind.OTHER or peers.of(lab.trainer).lost:
            raise
        if kind is Kind.LOST:
            _say_stopped(lab, run, _lines(error)[-1])
            raise EarlyEnd(_lines(error)[-1], 1) from error
        if new and process.is_first() and not any((run / "checkpoints").iterdir()):
            runs.remove(run)
        if kind is Kind.UNFIT:
            what = f"{unfit(error)} cannot be used here: {first_line(error)}"
            raise RecipeError(what, place(lab.recipe, "trainer", "callbacks")) from error
        raise RecipeError("\n".join(_lines(error)[:2]), lab.recipe.name) from error
    except SystemExit:
        if lightning_parts.was_interrupted(lab.trainer):
            _note_end(run, "stopped", "interrupted")
            print(f"stopped; go on with: {_resume(run)}", file=sys.stderr)
            raise EarlyEnd("stopped", INTERRUPTED) from None
        raise


RESTORING = {"load_state_dict", "on_load_checkpoint", "check_state", "loader_states"}  # functions


@contextmanager
def restoring(checkpoint: Path | None) -> Iterator[None]:
    """Turn what a damaged checkpoint makes its readers stumble over into an input error.

    Raises:
        RunError: names the checkpoint and what is wrong.
    """
    try:
        yield
    except InputError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        reads = any(f.name in RESTORING or "checkpoint_connector" in f.filename for f in frames)
        if checkpoint is None or not reads:
            raise
        why = f"{type(error).__name__}: {first_line(error)}"
        raise RunError(
            f"{checkpoint} cannot be continued from: damaged, or foreign\n{why}"
        ) from error


def _lines(error: Exception) -> list[str]:
    """The lines of an error's text that are not empty; its type's name if there are none."""
    return [line for line in str(error).splitlines() if line.strip()] or [repr(error)]


@contextmanager
def faults(lab: Lab, run: Path) -> Iterator[None]:
    """Turn a machine's fault into an early end: what happened, what is kept, how to go on.

    A full disk or memory is one, and the end of another of several processes.
    """
    others = peers.of(lab.trainer)
    others.hanging = lambda lost: _say_stopped(lab, run, str(lost), lost)
    others.await_all(lab.trainer)
    try:
        yield
        others.finish(lab.trainer)
    except Exception as error:
        what = str(others.lost) if others.lost else _fault(error, run)
        if what is None:
            _note_error(lab, run, error)
            raise
        _say_stopped(lab, run, what, others.lost)
        if others.lost:
            others.end_others(lab.trainer)
        raise EarlyEnd(what, 1) from error


def _fault(error: Exception, run: Path) -> str | None:
    """The machine's fault behind an error, in a line; None where it is none."""
    fault, missing = fault_of(error), messages.out_of_memory(error)
    if fault is not None:
        return told(fault)
    if missing is not None:
        return f"{missing}; a smaller data.batch_size or network needs less"
    if isinstance(error, OSError) and not run.is_dir():
        return f"{run} is gone: it was moved or deleted"
    return None


def _say_stopped(lab: Lab, run: Path, what: str, lost: Lost | None = None) -> None:
    """Report a fault: what happened, what is kept, how to continue.

    Another rank does where the first one is ``lost``.
    """
    if not process.is_first() and not (lost and lost.rank == 0 and peers.takes_over(run)):
        return
    _note_end(run, "failed" if lost and lost.failed else "stopped", what)
    lines = [f"{lab.recipe.name} stopped after step {lab.trainer.global_step:,}: {what}"]
    if (newest := runs.newest(run)) is not None:
        lines.append(f"{newest} is kept; go on with: {_resume(run)}")
    elif runs.is_run(run):
        lines.append(f"there is no checkpoint yet; begin again with: {_resume(run)}")
    elif run.is_dir():
        runs.remove(run)
    print("genlab: " + "\n  ".join(lines), file=sys.stderr)


def leave(lab: Lab, run: Path, stop: Stopped) -> None:
    """Leave after a stop at a signal: close open files, then let a job be requeued."""
    from genlab.training.tracking.wandb_run import WandbRun

    for logger in lab.trainer.loggers:
        if isinstance(logger, WandbRun):
            logger.pause()
    if process.is_first():
        facts = runs.read_json(run / "run.json")
        runs.write_json(run / "run.json", facts | {"stopped": str(stop)})
        print(f"genlab: {stop}; {stop.settle()}", file=sys.stderr, flush=True)
        if not slurm.inside():
            print(f"  go on with: {_resume(run)}", file=sys.stderr)


def leave_failed(lab: Lab, run: Path, failure: Failure) -> str:
    """Leave after a step that was not finite: tell Slurm, run.json and W&B; returns three lines.

    The step is run again last: a process that is killed meanwhile has told what happened.
    """
    from genlab.training.tracking.wandb_run import WandbRun

    if process.is_first():
        slurm.note_failed()
        _note_end(run, "failed", str(failure))
    for logger in lab.trainer.loggers:
        if isinstance(logger, WandbRun):
            logger.fail(str(failure))
    if not failure.first:
        _find_first_tensor(lab, run, failure)
    lines = _lines_of(lab, run, failure)
    if process.is_first():
        print("genlab: " + "\n  ".join(lines), file=sys.stderr, flush=True)
        _note_end(run, "failed", lines[0])
    return "\n".join(lines)


def _lines_of(lab: Lab, run: Path, failure: Failure) -> list[str]:
    """What failed and where, what is kept, what to try."""
    from genlab.training.engine import capture

    again = f"; genlab replay {shlex.quote(str(run))} runs the step again"
    return [
        f"{failure}" + (f"; first: {failure.first}" if failure.first else ""),
        _kept(run) + (again if capture.read(run) else ""),
        _advice(lab, run, failure),
    ]


def _advice(lab: Lab, run: Path, failure: Failure) -> str:
    """What to try: behind the checkpoint that precedes the step no other rate helps."""
    kept = runs.newest(run)
    begin = f"begin again with a lower learning rate{_or_clipping(lab, failure)}"
    if lab.tracking.nonfinite == "skip" and failure.what != "weights":
        limit = lab.tracking.nonfinite_limit
        return f"more than {limit} steps in a row: the weights have probably diverged; {begin}"
    skip = "track.nonfinite=skip"
    if kept is None:
        return f"{begin}, or with {skip}"
    if failure.what != "weights" and step_of(kept) >= failure.step - 1:
        return f"{begin}; a resume meets the same step again, and needs {skip}"
    return f"go on from there with a lower learning rate (--resume) or {skip}, or {begin}"


def _or_clipping(lab: Lab, failure: Failure) -> str:
    """Clipping, unless it is there, or the gradient was not finite: scaled, it still is not."""
    if failure.what == "gradient" or not lab.model.automatic_optimization:
        return ""
    return "" if lab.trainer.gradient_clip_val else " or trainer.gradient_clip_val=1"


def _note_error(lab: Lab, run: Path, error: Exception) -> None:
    """Say in run.json that an error nobody expected has ended the run.

    A continued run of which this start has written nothing stays as it was.
    """
    own = lab.checkpoints.newest is not None or not runs.checkpoints(run)
    if own and process.is_first() and not isinstance(error, EarlyEnd | InputError):
        _note_end(run, "failed", f"{type(error).__name__}: {first_line(error)}")


def _note_end(run: Path, how: str, what: str) -> None:
    """Say in run.json how a run has ended; a full disk does not hide it from the user."""
    with suppress(OSError):
        if facts := runs.read_json(run / "run.json"):
            runs.write_json(run / "run.json", facts | {how: what})


def _kept(run: Path) -> str:
    kept = runs.newest(run)
    if kept is None:
        return "no checkpoint was written"
    step = step_of(kept)
    return f"{kept.relative_to(run)}{f' of step {step:,}' if step >= 0 else ''} is kept"


def _find_first_tensor(lab: Lab, run: Path, failure: Failure) -> None:
    """Complete a failure by running its step again, if that succeeds on all ranks.

    Several ranks on devices do without: one that runs out of memory leaves the others waiting.
    """
    from genlab import distributed
    from genlab.training.engine import capture
    from genlab.training.replaying import replay

    if lab.trainer.world_size > 1 and lab.trainer.strategy.root_device.type != "cpu":
        return
    if not all(distributed.gather_objects(bool(capture.read(run)))):  # a rank would wait for ever
        return
    try:
        found = replay(run, lab.trainer.num_devices)
    except Exception:  # whatever it is, the failure itself is what must be told
        return
    if found.first:
        failure.first, failure.rank = found.first, found.rank
        if process.is_first():
            capture.note(run, {"first": found.first, "rank": found.rank})


def _resume(run: Path) -> str:
    return f"genlab fit --resume {shlex.quote(str(run))}"
