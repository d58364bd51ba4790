"""Histogram of the norms of a critic's gradient at each image."""

from __future__ import annotations

from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from genlab import distributed
from genlab.drawing.charts import figure, pixels
from genlab.drawing.may_fail import may_fail
from genlab.training.tracking.shown import publish


class GradientNorms(L.Callback):
    """``pictures/gradient_norms-<step>.png``: a histogram over the validation images of all ranks.

    For methods whose ``validation_step`` returns ``gradient_norms`` (B,), as WGAN-GP's does. Its
    penalty pulls all of them to 1. With clipped weights they lie far below or above, and without
    any constraint they grow without bound.

    Args:
        every_n_epochs: epochs between histograms, each drawn after validation; 0 for one at the
            end, of the last validation.

    Raises:
        ValueError: negative epochs.
    """

    def __init__(self, every_n_epochs: int = 10) -> None:
        if every_n_epochs < 0:
            raise ValueError(
                f"GradientNorms.every_n_epochs must be at least 0, got {every_n_epochs}"
            )
        self.every_n_epochs = every_n_epochs
        self._norms: list[Tensor] = []
        self._measured_at = self._drawn_at = -1

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._norms, self._measured_at = [], trainer.global_step

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if isinstance(outputs, dict) and "gradient_norms" in outputs:
            self._norms.append(outputs["gradient_norms"].float())

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if trainer.state.fn == "fit" and self.every_n_epochs and epoch % self.every_n_epochs == 0:
            self._draw(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._draw(trainer)

    def _draw(self, trainer: L.Trainer) -> None:
        if not self._norms or self._drawn_at == self._measured_at:
            return
        self._drawn_at = step = self._measured_at
        norms = distributed.gather_rows(torch.cat(self._norms))
        if trainer.is_global_zero:
            with may_fail("pictures/gradient_norms"):
                publish(trainer, "gradient_norms", draw(norms.cpu().numpy(), step), step)


def draw(norms: np.ndarray, step: int) -> np.ndarray:
    """Draw the histogram from 0 to the largest norm but at least 2: (N,) -> (H, W, 3) bytes.

    Norms that are not finite are counted in the title.
    """
    chart = figure(5, 3)
    axes = chart.add_subplot()
    finite = norms[np.isfinite(norms)]
    top = max(2.0, float(finite.max(initial=0.0)))
    axes.hist(finite, bins=80, range=(0, top))
    axes.axvline(1.0, color="black", linewidth=0.8)
    told = f"mean {finite.mean():.3g}, standard deviation {finite.std():.2g}" if len(finite) else ""
    if len(finite) < len(norms):
        told += f", {len(norms) - len(finite):,} not finite"
    axes.set(xlabel="norm of the critic's gradient", ylabel="images", xlim=(0, top))
    axes.set_title(f"step {step:,}: {told}", fontsize=9)
    return pixels(chart)
