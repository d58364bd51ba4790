"""Samples and reconstructions during training."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab.contracts import (
    DataModule,
    Reconstructs,
    Samples,
    ShowsVectors,
    SwapsStyles,
    data_of,
)
from genlab.drawing.grid import class_rows, grid, pairs
from genlab.drawing.may_fail import may_fail
from genlab.metrics.network_evaluations import evaluations_in_words
from genlab.networks.modes import still
from genlab.training.tracking.shown import publish


class Pictures(L.Callback):
    """Sample and reconstruction grids as PNG in the run's ``pictures/`` and in W&B.

    Drawn after the validation of every ``every_n_epochs``-th epoch and at the end of training, for
    methods that can ``sample`` or ``reconstruct``; from fixed noise and fixed validation images,
    so that successive grids are comparable; samples with a row for each class, if any.

    Args:
        every_n_epochs: epochs between grids; 0 draws only at the end.
        count: images in a sample grid.
    """

    def __init__(self, every_n_epochs: int = 10, count: int = 64) -> None:
        self.every_n_epochs, self.count = every_n_epochs, count
        self._drawn_at = -1
        self._images: Tensor | None = None
        self._labels: Tensor | None = None

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx == 0:
            self._take(batch)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if trainer.state.fn == "fit" and self.every_n_epochs and epoch % self.every_n_epochs == 0:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._drawn_at != trainer.global_step:
            self._look(trainer, pl_module)
            self._draw(trainer, pl_module)

    def _take(self, batch: Any) -> None:
        if isinstance(batch, dict) and "image" in batch:
            self._images = batch["image"][: self.count // 2]
            self._labels = batch["label"][: self.count // 2]

    def _look(self, trainer: L.Trainer, method: L.LightningModule) -> None:
        """Take the first validation images in a process that has not validated."""
        data = data_of(trainer)
        if self._images is not None or not isinstance(data, DataModule):
            return
        loader = data.val_dataloader()
        if len(loader):
            self._take(data.to_device(next(iter(loader)), method.device))

    def _draw(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._drawn_at = trainer.global_step
        if not trainer.is_global_zero:
            return
        with still(pl_module):
            if isinstance(pl_module, Samples):
                sheet = class_rows(pl_module, self.count)
                self._keep(trainer, "samples", *sheet, evaluations_in_words(pl_module))
            for name, images, columns in self._sheets(pl_module):
                self._keep(trainer, name, images, columns)

    def _sheets(self, method: Any) -> list[tuple[str, Tensor, int | None]]:
        """Name, images and columns of each grid of validation images that the method can give."""
        sheets: list[tuple[str, Tensor, int | None]] = []
        if isinstance(method, Reconstructs) and self._images is not None:
            images = self._images
            sheets.append(("reconstructions", pairs(images, method.reconstruct(images)), 8))
        if not isinstance(method, SwapsStyles):
            return sheets
        if self._images is not None and self._labels is not None:
            image, label = self._images[:8], self._labels[:8]
            styles = method.swap_styles(image, label)  # (8, num_classes, C, H, W)
            rows = torch.cat([image[:, None], styles], dim=1)
            sheets.append(("styles", rows.flatten(0, 1), rows.shape[1]))
        return sheets

    def _keep(
        self, trainer: L.Trainer, name: str, images: Tensor, columns: int | None, note: str = ""
    ) -> None:
        data = data_of(trainer)
        if isinstance(data, ShowsVectors):
            images = images.reshape(-1, *data.picture_shape)
        with may_fail(f"pictures/{name}"):
            publish(trainer, name, grid(images, columns), trainer.global_step, note)
