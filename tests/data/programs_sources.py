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


def outcome(
    rank: int, world: int, folder: str, recipe: str, *words: str
) -> tuple[dict[str, Any], dict[str, float]]:
    """Weights after two epochs, and the metrics of a validation then."""
    os.chdir(folder)
    fixed = [f"trainer.devices={world}", "trainer.accelerator=cpu", "trainer.max_epochs=2",
             "trainer.callbacks=[]", "track.wandb=off", "model.encoder=lenet",
             "model.optimizer={name: torch.sgd, lr: 0.01, schedule: constant}"]  # fmt: skip
    lab = build(recipes.resolve([recipe], [*words, *fixed]), Path(folder))
    lab.trainer.fit(lab.model, datamodule=lab.data)
    (metrics,) = lab.trainer.validate(lab.model, datamodule=lab.data, verbose=False)
    return dict(lab.model.state_dict()), dict(metrics)
