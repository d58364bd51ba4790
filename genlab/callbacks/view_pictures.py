"""Image of the views that a self-supervised method receives."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import lightning as L
import numpy as np
from torch import Tensor

from genlab.augment import View
from genlab.contracts import data_of
from genlab.drawing.columns import titled
from genlab.drawing.may_fail import may_fail
from genlab.training.tracking.shown import publish


class ViewPictures(L.Callback):
    """``pictures/views.png``: a run's first training images and their views.

    One row per image and one column per view, after the image itself, with their sides where they
    differ; below, the operations of each view, once for neighbours that
    share them. These are the tensors of the first batch: nothing is
    drawn anew. A resumed run keeps its file. Ignored for data without ``views``.

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
    sides = [column.shape[-1] for column in columns]
    titles = ["image", *(f"view {k}" for k in range(1, len(columns)))]
    if len(set(sides)) > 1:
        titles = [f"{title} ({side} px)" for title, side in zip(titles, sides, strict=True)]
    return titled(dict(zip(titles, columns, strict=True)), captions=joined(words))


def joined(words: list[str]) -> list[str]:
    """Captions of views by number; neighbours with the same caption share one."""
    captions, last = list[str](), 0
    for text, alike in groupby(words):
        first, last = last + 1, last + len(list(alike))
        views = f"view {first}" if first == last else f"views {first} to {last}"
        captions.append(f"{views}: {text}")
    return captions


def describe(view: View) -> str:
    """Describe the operations of a view that can occur."""
    whole = view.crop == (1.0, 1.0)
    parts = [] if whole else [f"crop of {view.crop[0]:.0%} to {view.crop[1]:.0%} of the area"]
    parts += ["flip"] if view.flip else []
    parts += [f"warp ({view.warp})"] if view.warp else []
    strengths = ("brightness", "contrast", "saturation", "hue")
    moved = [f"{n} {s:g}" for n, s in zip(strengths, view.jitter, strict=True) if s]
    if moved and view.jitter_chance:
        parts.append(f"{', '.join(moved)} ({view.jitter_chance:.0%} of images)")
    for name in ("grey", "blur", "solarise"):
        if chance := getattr(view, name):
            parts.append(f"{name} ({chance:.0%})")
    return "; ".join(parts) or "whole image"
