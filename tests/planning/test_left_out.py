"""What a plan leaves out, it says."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch

from genlab import recipes
from genlab.planning.fake import fake_step
from genlab.planning.step import VALIDATION


class Mine(L.LightningDataModule):
    """A data module that is none of genlab's."""

    channels, image_size, num_classes = 1, 8, 10

    def __init__(self, batch_size: int = 64) -> None:
        super().__init__()
        self.batch_size = batch_size

    def train_dataloader(self) -> list[Any]:
        n = self.batch_size
        return [{"image": torch.zeros(n, 1, 8, 8), "label": torch.zeros(n).long()}]


def test_validation_of_anybodys_data() -> None:
    recipe = recipes.resolve(["vae/digits"])
    recipe.config["data"] = {"class_path": f"{__name__}.Mine", "init_args": {"batch_size": 4096}}
    step = fake_step(recipe)
    assert step.notes == ("validation is not counted: its batches are those of Mine",)
    assert step.images == 4096
    recipe.config["trainer"]["limit_val_batches"] = 0
    assert not fake_step(recipe).notes


def test_a_training_without_validation_images_ends() -> None:
    assert VALIDATION not in fake_step(recipes.resolve(["vae/digits"], ["data.val_size=0"])).peaks


def test_a_compiled_encoder() -> None:
    words = ["data.batch_size=8", "model.encoder=small_cnn", "model.encoder_kwargs.compile=true"]
    (note,) = fake_step(recipes.resolve(["classifier/digits"], words)).notes
    assert note.startswith("encoder_kwargs.compile is not counted")
