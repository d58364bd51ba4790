"""Image of the views that a self-supervised method receives."""

from __future__ import annotations

import textwrap
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from genlab.augment import View
from genlab.contracts import data_of
from genlab.drawing.grid import grid
from genlab.drawing.may_fail import may_fail
from genlab.training.tracking.shown import publish

LINE = 14  # pixels of a line of text
WIDTH = 96  # pixels of a column at least


class ViewPictures(L.Callback):
    """``pictures/views.png``: a run's first training images and their views.

    One row per image and one column per view, after the image itself; below, the operations of
    each view. These are the tensors of the first batch: nothing is drawn anew. A resumed run keeps
    its file. Ignored for data without ``views``.

    Args:
        count: number of images.

    Raises:
        ValueError: no image.
    """

    def __init__(self, count: int = 8) -> None:
        if count < 1:
            raise ValueError(f"ViewPictures.count must be at least 1, got {count}")
        self.count = count
        self._done = False

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._done:
            return
        self._done = True
        first = not trainer.global_step and not batch_idx and trainer.is_global_zero
        if first and isinstance(batch, dict) and "views" in batch:
            data = data_of(trainer)
            columns = [_whole(batch, data, self.count), *(v[: self.count] for v in batch["views"])]
            views = getattr(data, "views", None)
            words = [describe(view) for view in getattr(views, "views", [])]
            with may_fail("pictures/views.png"):
                publish(trainer, "views", sheet(columns, words))


def _whole(batch: Any, data: Any, count: int) -> Tensor:
    """A batch's first images as evaluation sees them; (N, C, H, W) in [0, 1]."""
    if "image" in batch:
        return batch["image"][:count]
    return data.to_device(data.whole(batch["index"][:count]))["image"]


def sheet(columns: list[Tensor], words: list[str]) -> np.ndarray:
    """Images and their views side by side, with titles and captions: (H, W, 3) bytes.

    Args:
        columns: the images (N, C, H, W) and one tensor (N, C, h, w) a view, in [0, 1].
        words: caption of each view; empty for none.
    """
    side = max(WIDTH, *(column.shape[-1] for column in columns))
    columns = [_enlarged(column, side) for column in columns]
    tiles = grid(torch.stack(columns, 1).flatten(0, 1), len(columns))
    lines = [
        line
        for k, text in enumerate(words, 1)
        for line in textwrap.wrap(f"view {k}: {text}", tiles.shape[1] // 6, subsequent_indent="  ")
    ]
    height = tiles.shape[0] + LINE * (1 + len(lines))
    picture = Image.new("RGB", (tiles.shape[1], height), "white")
    picture.paste(Image.fromarray(tiles), (0, LINE))
    pen = ImageDraw.Draw(picture)
    for k in range(len(columns)):
        title = f"view {k}" if k else "image"
        pen.text((k * (side + 2) + side // 2, 1), title, "black", anchor="ma")
    for number, line in enumerate(lines, 1):
        pen.text((3, tiles.shape[0] + LINE * number), line, "black")
    return np.asarray(picture)


def describe(view: View) -> str:
    """Describe the operations of a view that can occur."""
    parts = [f"crop of {view.crop[0]:.0%} to {view.crop[1]:.0%} of the area"]
    parts += ["flip"] if view.flip else []
    strengths = ("brightness", "contrast", "saturation", "hue")
    moved = [f"{n} {s:g}" for n, s in zip(strengths, view.jitter, strict=True) if s]
    if moved and view.jitter_chance:
        parts.append(f"{', '.join(moved)} ({view.jitter_chance:.0%} of images)")
    for name in ("grey", "blur", "solarise"):
        if chance := getattr(view, name):
            parts.append(f"{name} ({chance:.0%})")
    return "; ".join(parts)


def _enlarged(images: Tensor, side: int) -> Tensor:
    """(N, C, h, w) -> (N, 3, side, side): whole pixels, centred on grey, small views stay small."""
    images = images.float().cpu().expand(-1, max(3, images.shape[1]), -1, -1)[:, :3]
    factor = max(1, side // images.shape[-1])
    images = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    rest = side - images.shape[-1]
    before = rest // 2
    return F.pad(images, (before, rest - before, before, rest - before), value=0.75)
