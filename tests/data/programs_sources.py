"""What the tests of sources run on one rank and on two."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from genlab import recipes
from genlab.training.building import build


def weights(rank: int, world: int, folder: str, *words: str) -> dict[str, Any]:
    """Weights after two steps."""
    os.chdir(folder)
    fixed = [f"trainer.devices={world}", "trainer.accelerator=cpu", "trainer.max_steps=2",
             "trainer.callbacks=[]", "model.optimizer.name=sgd",
             "model.encoder=lenet"]  # fmt: skip
    lab = build(recipes.resolve(["classifier/digits"], [*words, *fixed]), Path(folder))
    lab.trainer.fit(lab.model, datamodule=lab.data)
    assert lab.trainer.global_step == 2
    return {name: p.detach() for name, p in lab.model.named_parameters()}
