"""Programs of two ranks of which one sees what is not finite."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from genlab import runs
from genlab.checkpoints import read
from genlab.training import fitting
from genlab.training.endings import EarlyEnd
from genlab.training.engine import capture
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
