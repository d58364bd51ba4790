"""A run as it is going to be, untrained: what is to start from it is checked before it exists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import lightning as L
import torch

from genlab import recipes, runs

if TYPE_CHECKING:
    from genlab.training.building import Lab


def write(lab: Lab, run: Path) -> None:
    """Write a run directory with one checkpoint: names, shapes and settings of a recipe's network.

    Args:
        lab: objects of the recipe; the weights are those of its beginning.
        run: a folder that does not exist.
    """
    kind = type(lab.model)
    content = {
        "state_dict": lab.model.state_dict(),
        "hyper_parameters": dict(lab.model.hparams),
        "pytorch-lightning_version": L.__version__,
        "global_step": 0,
        "epoch": 0,
        "genlab": {"class_path": f"{kind.__module__}.{kind.__qualname__}", "recipe": lab.config},
    }
    lab.model.on_save_checkpoint(content)
    runs.make(run)
    torch.save(content, run / "checkpoints" / "last.ckpt")
    (run / "recipe.yaml").write_text(recipes.dump(lab.recipe, lab.config))
    recipes.trust.keep(run, recipes.foreign(lab.recipe.config) | lab.recipe.loaded)
