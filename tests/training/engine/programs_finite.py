"""Programs of two ranks of which one sees what is not finite."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from genlab import recipes, runs
from genlab.checkpoints import read
from genlab.training import fitting
from genlab.training.building import Lab, build
from genlab.training.endings import EarlyEnd
from genlab.training.engine import capture
from genlab.training.engine.failure import NotFiniteError
from genlab.training.engine.finite import FiniteGuard
from genlab.training.replaying import replay, reproduced
from tests.training.engine.poison import HERE


def ends(rank: int, world: int, folder: str, recipe: str, *words: str) -> dict[str, Any]:
    """A training that must end, and its replay, as each rank has them."""
    os.chdir(folder)
    os.environ[runs.RUN_VARIABLE] = run = str(Path(folder) / "run")
    fixed = ["trainer.devices=2", "trainer.accelerator=cpu", "track.wandb=off"]
    fixed += ["trainer.max_epochs=1", "trainer.callbacks=[]", f"data={HERE}.Poisoned"]
    try:
        fitting.fit([recipe], [*fixed, *words])
    except EarlyEnd as end:
        lines, code = str(end).splitlines(), end.code
    found = replay(Path(run))
    facts = capture.read(Path(run))  # after it: rank zero has noted the first tensor by then
    last = read(Path(run) / "checkpoints" / "last.ckpt")
    fine = all(bool(t.isfinite().all()) for t in last["state_dict"].values())
    return {
        "lines": lines, "code": code, "facts": facts, "first": found.first, "fine": fine,
        "step": last["global_step"], "differs": reproduced(found, facts),
    }  # fmt: skip


def skips(rank: int, world: int, folder: str, recipe: str, *words: str) -> dict[str, Any]:
    """A training that goes on: weights and number of skipped steps, as each rank has them."""
    made, guard = _made(folder, recipe, "track.nonfinite=skip", *words)
    made.trainer.fit(made.model, datamodule=made.data)
    return {"weights": _weights(made), "skipped": guard.skipped, "steps": made.trainer.global_step}


def masked(rank: int, world: int, folder: str, recipe: str, *words: str) -> dict[str, Any]:
    """A training that ends as on a device, which masks updates until the host looks."""
    made, guard = _made(folder, recipe, *words)
    guard.late = True
    try:
        made.trainer.fit(made.model, datamodule=made.data)
    except NotFiniteError as error:
        return {"weights": _weights(made), "failure": str(error.failure)}
    raise AssertionError("it has not ended")


def _made(folder: str, recipe: str, *words: str) -> tuple[Lab, FiniteGuard]:
    fixed = ["trainer.devices=2", "trainer.accelerator=cpu", "trainer.max_epochs=1"]
    fixed += ["trainer.callbacks=[]", f"data={HERE}.Poisoned"]
    lab = build(recipes.resolve([recipe], [*fixed, *words]), Path(folder))
    callbacks: list[Any] = lab.trainer.callbacks  # type: ignore[attr-defined]
    return lab, next(c for c in callbacks if isinstance(c, FiniteGuard))


def _weights(lab: Lab) -> dict[str, Any]:
    return {name: p.tolist() for name, p in lab.model.named_parameters()}
