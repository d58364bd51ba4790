"""Histogram of similarities between views of one image and of different images."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.contracts import Embeds, data_of
from genlab.drawing.charts import figure, pixels, plain
from genlab.drawing.may_fail import may_fail
from genlab.networks.modes import evaluating
from genlab.training.tracking.shown import publish, run_name

SEED = 5 << 40  # of the views: the same ones in every picture


class SimilarityHistogram(L.Callback):
    """``pictures/similarities-<step>.png``: cosines of positive and of negative pairs.

    The two views of validation images are the same in every histogram and are compared by the
    method's ``embed`` in eval mode. A method works if the two peaks separate, and has collapsed if
    both lie at 1. Ignored for methods without ``embed``, data without ``views`` and batches of one.

    Args:
        every_n_epochs: epochs between histograms; 0 for one at the end.
        count: number of images, from the first validation batch.

    Raises:
        ValueError: fewer than two images, or negative epochs.
    """

    def __init__(self, every_n_epochs: int = 0, count: int = 256) -> None:
        if every_n_epochs < 0:
            raise ValueError(
                f"SimilarityHistogram.every_n_epochs must be at least 0, got {every_n_epochs}"
            )
        if count < 2:
            raise ValueError(f"SimilarityHistogram.count must be at least 2, got {count}")
        self.every_n_epochs, self.count = every_n_epochs, count
        self._drawn_at = -1
        self._images: Tensor | None = None

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
            self._images = batch["image"][: self.count]

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if trainer.state.fn == "fit" and self.every_n_epochs and epoch % self.every_n_epochs == 0:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._drawn_at != trainer.global_step:
            self._draw(trainer, pl_module)

    def _draw(self, trainer: L.Trainer, method: L.LightningModule) -> None:
        self._drawn_at = trainer.global_step
        views = getattr(data_of(trainer), "views", None)
        if (
            self._images is None
            or len(self._images) < 2
            or views is None
            or not isinstance(method, Embeds)
        ):
            return
        if trainer.is_global_zero:
            with evaluating(method), torch.no_grad(), trainer.precision_plugin.forward_context():
                z1, z2 = (method.embed(view) for view in views(self._images, SEED)[:2])
            with may_fail("pictures/similarities"):
                picture = draw(
                    *cosines(z1, z2), f"{run_name(trainer, method)}, step {trainer.global_step:,}"
                )
                publish(trainer, "similarities", picture, trainer.global_step)


def cosines(z1: Tensor, z2: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Cosines of all positive pairs (N,) and of all negative ones (N (N - 1),).

    Args:
        z1: embeddings of one view of the images, (N, D).
        z2: embeddings of another view of the same images, (N, D).
    """
    every = F.normalize(z1.float(), dim=1) @ F.normalize(z2.float(), dim=1).T
    same = torch.eye(len(every), dtype=torch.bool, device=every.device)
    return every[same].cpu().numpy(), every[~same].cpu().numpy()


def draw(positive: np.ndarray, negative: np.ndarray, title: str) -> np.ndarray:
    """Draw two histograms over [-1, 1], each of area one, under a title: (H, W, 3) bytes."""
    chart = figure(5, 3)
    axes = chart.add_subplot()
    pairs = {"two views of an image": positive, "views of different images": negative}
    for name, values in pairs.items():
        label = f"{name}: mean {round(float(values.mean()), 2) + 0.0:.2f}"
        axes.hist(values, bins=80, range=(-1, 1), density=True, alpha=0.6, label=label)
    axes.set(
        xlabel="cosine of embeddings", ylabel="share of pairs", yticks=[], xlim=(-1, 1),
        title=plain(title),
    )  # fmt: skip
    axes.legend(loc="upper left", fontsize=8)
    return pixels(chart)
