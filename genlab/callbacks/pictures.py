"""Pictures of what a method has learned, while it learns."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import WandbLogger
from PIL import Image
from torch import Tensor

from genlab.callbacks.points import draw, is_plane

TILE = 48  # pixels: smaller images are enlarged by a whole factor until they reach it
REACH = (
    3.0  # of the plane, each way, that a cloud of points shows: the same in all frames of a film
)


def grid(images: Tensor, columns: int | None = None) -> np.ndarray:
    """Images as one picture: (N, C, H, W) in [0, 1] -> (H', W', 3) bytes.

    Small images are enlarged by a whole factor, so that every pixel stays a square; a thin light
    line separates the tiles. ``columns`` defaults to a square arrangement. Points in the plane,
    (N, 2, 1, 1), are a cloud of dots instead.
    """
    if is_plane(images):
        return draw({f"{len(images):,} points": images}, REACH)
    images = images.detach().float().cpu().clamp(0, 1)
    n, channels, height, width = images.shape
    if channels == 1:
        images = images.expand(-1, 3, -1, -1)
    factor = max(1, math.ceil(TILE / max(height, width)))
    tiles = images[:, :3].repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    columns = columns or math.ceil(math.sqrt(n))
    rows, tile_h, tile_w = math.ceil(n / columns), tiles.shape[2] + 2, tiles.shape[3] + 2
    sheet = torch.full((3, rows * tile_h + 2, columns * tile_w + 2), 0.75)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * tile_h + 2, (i % columns) * tile_w + 2
        sheet[:, top : top + tile_h - 2, left : left + tile_w - 2] = tile
    return (sheet * 255).round().byte().permute(1, 2, 0).numpy()


def save(images: Tensor, file: Path, columns: int | None = None) -> Path:
    """Write a `grid` as a PNG and return where."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grid(images, columns)).save(file)
    return file


class Pictures(L.Callback):
    """Sample and reconstruction grids as PNG in the run's ``pictures/`` and in W&B.

    Drawn after the validation of every ``every_n_epochs``-th epoch and at the end of training, for
    methods that can ``sample`` or ``reconstruct``; from fixed noise and fixed validation images,
    so that successive pictures compare; samples with a row for each class where there are any.

    Args:
        every_n_epochs: 0 draws only at the end.
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
        if batch_idx == 0 and isinstance(batch, dict) and "image" in batch:
            self._images = batch["image"][: self.count // 2]
            self._labels = batch["label"][: self.count // 2]

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
        with still(pl_module):
            for name, images, columns in self._sheets(pl_module):
                self._keep(trainer, name, images, columns)

    def _sheets(self, method: Any) -> list[tuple[str, Tensor, int | None]]:
        """Name, images and columns of each picture that the method can give."""
        sheets: list[tuple[str, Tensor, int | None]] = []
        if hasattr(method, "sample"):
            sheets.append(("samples", *class_rows(method, self.count)))
        if hasattr(method, "reconstruct") and self._images is not None:
            images = self._images
            sheets.append(("reconstructions", pairs(images, method.reconstruct(images)), 8))
        if hasattr(method, "swap_styles") and self._images is not None and self._labels is not None:
            image, label = self._images[:8], self._labels[:8]
            styles = method.swap_styles(image, label)  # (8, num_classes, C, H, W)
            rows = torch.cat([image[:, None], styles], dim=1)
            sheets.append(("styles", rows.flatten(0, 1), rows.shape[1]))
        return sheets

    def _keep(self, trainer: L.Trainer, name: str, images: Tensor, columns: int | None) -> None:
        publish(trainer, name, grid(images, columns), trainer.global_step)


def publish(trainer: L.Trainer, name: str, picture: np.ndarray, step: int | None = None) -> None:
    """A picture (H, W, 3) of bytes into the run's ``pictures/`` and into W&B.

    Args:
        trainer: whose run it is.
        name: of the file, without ending.
        picture: what to write.
        step: part of the file's name; None for a picture of which a run has one.
    """
    folder = Path(trainer.default_root_dir) / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / f"{name if step is None else f'{name}-{step:08d}'}.png")
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(f"pictures/{name}", [picture])


@contextmanager
def still(method: L.LightningModule) -> Iterator[None]:
    """Eval mode, no gradient, and the same noise every time; afterwards all is as it was."""
    training = method.training
    method.eval()
    with torch.no_grad(), torch.random.fork_rng(_cuda(method)):
        torch.manual_seed(0)
        yield
    method.train(training)


def class_rows(method: Any, n: int, **options: Any) -> tuple[Tensor, int | None]:
    """About n samples, and the columns to show them in: a row a class where there are classes."""
    classes = number_of_classes(method)
    if not classes:
        return method.sample(n, **options), None
    columns = max(1, round(n / classes))
    label = torch.arange(classes).repeat_interleave(columns)
    return method.sample(classes * columns, label=label, **options), columns


def number_of_classes(method: Any) -> int:
    """How many classes a method can draw samples of; 0 when it draws without classes."""
    if "label" not in inspect.signature(getattr(method, "sample", lambda: 0)).parameters:
        return 0
    return int(getattr(method, "num_classes", 0) or 0)


def pairs(originals: Tensor, others: Tensor, columns: int = 8) -> Tensor:
    """Rows of originals with their counterparts right below, for a grid of ``columns``."""
    rows = [
        part
        for pair in zip(originals.split(columns), others.split(columns), strict=True)
        for part in pair
    ]
    return torch.cat([row for row in rows if len(row) == columns] or rows)


def _cuda(module: L.LightningModule) -> list[int]:
    return [module.device.index or 0] if module.device.type == "cuda" else []
