"""Images of data, samples and density in the plane."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab.callbacks._first_images import spread_images
from genlab.contracts import HasDensity
from genlab.drawing.may_fail import may_fail
from genlab.drawing.points import draw, is_plane
from genlab.metrics.network_evaluations import evaluations_in_words
from genlab.networks.modes import still
from genlab.training.tracking.shown import publish, run_name


class PlanePictures(L.Callback):
    """Data, samples and, where the method has one, density of two-dimensional data, side by side.

    Drawn as ``pictures/plane-<step>.png`` after the validation of every ``every_n_epochs``-th
    epoch and at the end of training, even of one without a validation; nothing is drawn of images.
    The title names recipe, step and the last validation's nats.

    Args:
        every_n_epochs: epochs between images; 0 draws only at the end.
        count: points in a panel.
    """

    def __init__(self, every_n_epochs: int = 10, count: int = 4000) -> None:
        self.every_n_epochs, self.count = every_n_epochs, count
        self._drawn_at = -1
        self._points: list[Tensor] = []

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._points = []

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if is_plane(batch["image"]) and sum(map(len, self._points)) < self.count:
            self._points.append(batch["image"].cpu())

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = trainer.current_epoch + 1
        if trainer.state.fn == "fit" and self.every_n_epochs and epoch % self.every_n_epochs == 0:
            self._draw(trainer, pl_module)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._drawn_at != trainer.global_step:
            found = None if self._points else spread_images(trainer, pl_module, self.count)
            if found is not None and is_plane(found["image"]):
                self._points = [found["image"].cpu()]
            self._draw(trainer, pl_module)

    def _draw(self, trainer: L.Trainer, method: Any) -> None:
        self._drawn_at = trainer.global_step
        if not trainer.is_global_zero or not self._points:
            return
        data = torch.cat(self._points)[: self.count]
        with still(method):
            panels = {"data": data, "samples": method.sample(self.count)}
            note = evaluations_in_words(method)
            log_prob = method.log_prob if isinstance(method, HasDensity) else None
            with may_fail("pictures/plane"):
                title = f"{run_name(trainer, method)}, step {trainer.global_step:,}{_nats(trainer)}"
                reach = float(data.abs().max()) * 1.2
                picture = draw(panels, reach, log_prob, method.device, title)
                publish(trainer, "plane", picture, trainer.global_step, note)


def _nats(trainer: L.Trainer) -> str:
    """Nats of the last validation, for the title."""
    found = trainer.callback_metrics
    known = [name for name in ("val/nll", "val/excess_nats") if name in found]
    return "".join(f", {name} {float(found[name]):.3f}" for name in known)
