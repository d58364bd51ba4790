"""A run as it is going to be, untrained: what is to start from it is checked before it exists."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import lightning as L
import torch

from genlab import recipes
from genlab.files import rewriting

if TYPE_CHECKING:
    from genlab.training.building import Lab


def write(lab: Lab, run: Path) -> bool:
    """Write a run directory with one checkpoint: names, shapes and settings of a recipe's network.

    Args:
        lab: objects of the recipe; the weights are those of its beginning.
        run: a folder that does not exist.

    Returns:
        False if there is no room for it; then nothing is left of it.
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
    try:
        (run / "checkpoints").mkdir(parents=True)
        with rewriting(run / "checkpoints" / "last.ckpt") as file:
            torch.save(content, file)
        (run / "recipe.yaml").write_text(recipes.dump(lab.recipe, lab.config))
    except OSError:
        shutil.rmtree(run, ignore_errors=True)
        return False
    recipes.trust.keep(run, recipes.foreign(lab.recipe.config) | lab.recipe.loaded)
    return True
