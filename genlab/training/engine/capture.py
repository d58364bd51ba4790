"""Files of a step that was not finite: the state before it, and its facts."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import lightning as L

from genlab import runs
from genlab.errors import RunError, first_line
from genlab.files import replacing
from genlab.internals import lightning_loops
from genlab.internals.lightning_loops import Position

FOLDER, BEFORE, FACTS = "nonfinite", "before.ckpt", "step.json"


def write(trainer: L.Trainer, at: Position | None, facts: dict[str, Any], finite: bool) -> None:
    """Write the checkpoint before a step and the step's facts; on all ranks, rank zero's files.

    A run that has no last.ckpt yet gets this one if it is finite. Where it cannot be written, one
    line says so.

    Args:
        trainer: with every tensor as it was before the step.
        at: the step's first batch; None if the state is that after the step.
        facts: plain values.
        finite: True if the weights are.
    """
    run = Path(trainer.default_root_dir)
    folder, last = run / FOLDER, run / "checkpoints" / "last.ckpt"
    try:
        if trainer.is_global_zero:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / FACTS).unlink(missing_ok=True)  # of an earlier step, not of this state
        checkpoint = lightning_loops.checkpoint_at(trainer, at)
        trainer.strategy.save_checkpoint(checkpoint, folder / BEFORE)
        if finite and not last.exists():
            trainer.strategy.save_checkpoint(checkpoint, last)
        if trainer.is_global_zero:
            note(run, facts)
    except Exception as error:  # the failure itself is what must be told, by all ranks
        if trainer.is_global_zero:
            shutil.rmtree(folder, ignore_errors=True)
            print(f"the state before it is not kept: {first_line(error)}", file=sys.stderr)
    trainer.strategy.barrier("capture")


def read(run: Path) -> dict[str, Any]:
    """The facts of the step that ended a run; empty if none did.

    Raises:
        RunError: the file is damaged, or not of this shape.
    """
    file = run / FOLDER / FACTS
    facts = runs.read_json(file)
    if file.is_file() and not _are_facts(facts):
        raise RunError(f"{file} is not the record of a step: damaged, or changed by hand")
    return facts


def _are_facts(facts: dict[str, Any]) -> bool:
    ranks = facts.get("ranks")
    if not _list_of(dict, ranks) or not ranks:
        return False
    return (
        all(isinstance(facts.get(key), str) for key in ("what", "value", "first"))
        and all(type(facts.get(key)) is int and facts[key] >= 0 for key in ("step", "done", "rank"))
        and facts["rank"] < len(ranks)
        and _list_of(str, facts.get("odd"))
        and all(_list_of(str, one.get("bits")) for one in ranks)
        and all(
            _list_of(list, one.get("indices"))
            and all(_list_of(int, images) for images in one["indices"])
            for one in ranks
        )
    )


def _list_of(kind: type, found: Any) -> bool:
    return isinstance(found, list) and all(type(one) is kind for one in found)


def note(run: Path, facts: dict[str, Any]) -> None:
    """Write the facts of a step, over those that are known."""
    with replacing(run / FOLDER / FACTS) as draft:
        draft.write_text(json.dumps(read(run) | facts) + "\n")
