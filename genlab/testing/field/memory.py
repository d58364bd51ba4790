"""Memory of a training on the device next to what `genlab plan` says of it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import torch

from genlab import recipes
from genlab.recipes import Recipe
from genlab.testing.field.measurement import Measurement, measured, skipped, within
from genlab.testing.field.place import Place

NEAR = 0.15  # kernels' own scratch memory, and the allocator's blocks, are not planned
MIB = 2**20
LARGE: dict[str, tuple[str, ...]] = {  # recipes on embedded data, large enough to be measured
    "simclr/digits": (
        "model.encoder=resnet18", "model.encoder_kwargs={stem: cifar}", "data.resize=32",
        "data.batch_size=512",
    ),
    "moco_v3/digits": (
        "model.encoder=vit_small_patch16_224", "model.encoder_kwargs={patch_size: 4}",
        "data.resize=32", "data.batch_size=128",
    ),
    "glow/digits": ("data.resize=32", "data.batch_size=512"),
}  # fmt: skip
SMALL = ("data.batch_size=32",)
BARE = {
    "max_steps": 5, "max_epochs": -1, "limit_val_batches": 0, "log_every_n_steps": 1000,
    "callbacks": [], "devices": 1,
}  # fmt: skip
LEFT_OUT = ("Checkpoints", "ProgressReport", "SafeRequeue")


def memory(place: Place, subject: str) -> Iterator[Measurement]:
    """Largest memory of tensors in a step is what `genlab plan` says."""
    try:
        from genlab.planning import fake  # it needs what a bare GPU machine may lack
    except ModuleNotFoundError as error:
        if error.name != "jsonargparse":
            raise
        yield skipped(subject, "plans need jsonargparse")
        return
    recipe = _recipe(place, subject)
    planned = fake.fake_step(recipe).peak
    yield measured(f"{subject}, planned", planned / MIB, "MiB")
    with place.side():
        found = _peak(place, recipe)
    if found is None:
        yield skipped(subject, "trained; a CPU does not count its memory")
        return
    yield measured(f"{subject}, max_memory_allocated", found / MIB, "MiB")
    yield within(subject, abs(planned - found) / found, NEAR)


def _recipe(place: Place, subject: str) -> Recipe:
    accelerator = "cpu" if place.small else "gpu"
    words = [*(SMALL if place.small else LARGE[subject]), f"trainer.accelerator={accelerator}"]
    recipe = recipes.resolve([subject], [*words, "track.wandb=off"])
    recipe.config["trainer"] |= BARE
    return recipe


def _peak(place: Place, recipe: Recipe) -> int | None:
    """Bytes at the peak of a later step; None on a CPU."""
    from genlab.training.building import build

    with tempfile.TemporaryDirectory() as folder:
        lab = build(recipe, Path(folder))
        watch, every = Peak(place), lab.trainer.callbacks  # type: ignore[attr-defined]
        every[:] = [one for one in every if type(one).__name__ not in LEFT_OUT] + [watch]
        lab.trainer.fit(lab.model, datamodule=lab.data)
    return watch.found


class Peak(L.Callback):
    """Callback that reads the device's largest memory in the steps after the second.

    Args:
        place: the device.
    """

    def __init__(self, place: Place) -> None:
        self.place, self.steps = place, 0
        self.found: int | None = None

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *_: Any) -> None:
        self.steps += 1
        if self.place.small:
            return
        if self.steps == 2:
            torch.cuda.reset_peak_memory_stats(self.place.device)
        self.found = torch.cuda.max_memory_allocated(self.place.device)
