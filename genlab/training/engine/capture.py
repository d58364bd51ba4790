"""Files of a step that was not finite: the state before it, and its facts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lightning as L

from genlab import runs
from genlab.files import replacing
from genlab.internals import lightning_loops
from genlab.internals.lightning_loops import Position

FOLDER, BEFORE, FACTS = "nonfinite", "before.ckpt", "step.json"


def write(trainer: L.Trainer, at: Position | None, facts: dict[str, Any], finite: bool) -> None:
    """Write the checkpoint before a step and the step's facts; on all ranks, rank zero's files.

    A run that has no last.ckpt yet gets this one if it is finite. A full disk is left for the error
    that is being reported.

    Args:
        trainer: with every tensor as it was before the step.
        at: the step's first batch; None if the state is that after the step.
        facts: plain values.
        finite: True if the weights are.
    """
    run = Path(trainer.default_root_dir)
    checkpoint = lightning_loops.checkpoint_at(trainer, at)
    try:
        (run / FOLDER).mkdir(parents=True, exist_ok=True)
        trainer.strategy.save_checkpoint(checkpoint, run / FOLDER / BEFORE)
        last = run / "checkpoints" / "last.ckpt"
        if finite and not last.exists():
            trainer.strategy.save_checkpoint(checkpoint, last)
        if trainer.is_global_zero:
            note(run, facts)
    except (OSError, RuntimeError):
        shutil.rmtree(run / FOLDER, ignore_errors=True)
    trainer.strategy.barrier("capture")


def read(run: Path) -> dict[str, Any]:
    """The facts of the step that ended a run; empty if none did."""
    return runs.read_json(run / FOLDER / FACTS)


def note(run: Path, facts: dict[str, Any]) -> None:
    """Write the facts of a step, over those that are known."""
    with replacing(run / FOLDER / FACTS) as draft:
        draft.write_text(json.dumps(read(run) | facts) + "\n")
