"""Samples and reconstructions during training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import lightning as L
import torch
from torch import Tensor

from genlab.callbacks._first_images import spread_images
from genlab.contracts import (
    Batch,
    DataModule,
    Reconstructs,
    Samples,
    ShowsVectors,
    SwapsStyles,
    data_of,
    number_of_classes,
)
from genlab.drawing.grid import class_rows, grid, pairs
from genlab.drawing.lettering import class_names, lettered
from genlab.drawing.may_fail import may_fail
from genlab.drawing.points import is_plane
from genlab.metrics.network_evaluations import evaluations_in_words, sampling_in_words
from genlab.networks.modes import still
from genlab.training.tracking.shown import publish, run_name


class Sheet(NamedTuple):
    """Images of a grid and the text around it."""

    name: str
    images: Tensor
    columns: int | None
    told: str
    rows: list[str]
    heads: list[str]
    note: str = ""


class Pictures(L.Callback):
    """Sample and reconstruction grids as PNG in the run's ``pictures/`` and in W&B.

    Drawn after the validation of every ``every_n_epochs``-th epoch and at the end of training, for
    methods that can ``sample`` or ``reconstruct``; from fixed noise and fixed validation images,
    evenly spaced over the split, so that successive grids are comparable; samples with a row for
    each class, if any. A title names recipe, step and, where it is counted, what sampling cost.

    Args:
        every_n_epochs: epochs between grids; 0 draws only at the end.
        count: images in a sample grid.
    """

    def __init__(self, every_n_epochs: int = 10, count: int = 64) -> None:
        self.every_n_epochs, self.count = every_n_epochs, count
        self._drawn_at = -1
        self._batch: Batch | None = None

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        loaders = not isinstance(data_of(trainer), DataModule)  # which know no other images
        if loaders and batch_idx == 0 and isinstance(batch, dict) and "image" in batch:
            half = self.count // 2
            self._batch = Batch(image=batch["image"][:half], label=batch["label"][:half])

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if trainer.state.fn == "fit" and self.every_n_epochs and epoch % self.every_n_epochs == 0:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._drawn_at != trainer.global_step:
            self._draw(trainer, pl_module)

    def _draw(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._drawn_at = trainer.global_step
        if not trainer.is_global_zero:
            return
        if self._batch is None and isinstance(pl_module, Reconstructs | SwapsStyles):
            self._batch = spread_images(trainer, pl_module, self.count // 2)
        with still(pl_module):
            for sheet in self._sheets(pl_module, data_of(trainer)):
                self._keep(trainer, pl_module, sheet)

    def _sheets(self, method: Any, data: object) -> Iterator[Sheet]:
        """Each grid that the method can give."""
        names = class_names(getattr(data, "classes", None), number_of_classes(method))
        if isinstance(method, Samples):
            images, columns = class_rows(method, self.count)
            cost = sampling_in_words(method)
            told = f"samples, {cost}" if cost else "samples"
            note = evaluations_in_words(method)
            yield Sheet("samples", images, columns, told, names, [], note)
        if self._batch is None:
            return
        image, label = self._batch["image"], self._batch["label"]
        if isinstance(method, Reconstructs):
            told = "validation images, each above its reconstruction"
            shown = pairs(image, method.reconstruct(image))
            yield Sheet("reconstructions", shown, min(8, len(image)), told, [], [])
        if isinstance(method, SwapsStyles):
            styles = method.swap_styles(image[:8], label[:8])  # (8, num_classes, C, H, W)
            rows = torch.cat([image[:8, None], styles], dim=1)
            heads = ["image", *class_names(names, styles.shape[1])]
            told = "validation images, each with its style in every class"
            yield Sheet("styles", rows.flatten(0, 1), rows.shape[1], told, [], heads)

    def _keep(self, trainer: L.Trainer, method: L.LightningModule, sheet: Sheet) -> None:
        data, images, step = data_of(trainer), sheet.images, trainer.global_step
        if isinstance(data, ShowsVectors):
            images = images.reshape(-1, *data.picture_shape)
        rows = [] if is_plane(images) else sheet.rows
        title = f"{run_name(trainer, method)}, step {step:,}: {sheet.told}"
        with may_fail(f"pictures/{sheet.name}"):
            picture = lettered(grid(images, sheet.columns), title, rows, sheet.heads)
            publish(trainer, sheet.name, picture, step, sheet.note)
