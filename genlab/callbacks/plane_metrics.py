"""Metrics of methods trained on points in the plane, against their true density."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from genlab.contracts import HasDensity, KnownDensity, Samples, data_of
from genlab.drawing.points import is_plane
from genlab.networks.modes import still

COVERED = 0.2  # of its fair share of the samples makes a part of the data a covered one


class PlaneMetrics(L.Callback):
    """Modes covered, share of samples on the data, and excess nats over the true density.

    Writes, for validation and test, ``<split>/modes``: how many Gaussians, moons or squares get at
    least a fifth of their fair share of the samples; ``<split>/on_data``: the share of samples
    that lie on one (within four standard deviations of a Gaussian or moon); and, of a method with
    a density, ``<split>/excess_nats``: its mean negative log-density at the split's points minus
    the true one's. For data with `component` and ``log_prob``, such as `Toys`; ignored for others.

    Args:
        count: number of samples drawn, always from the same noise.

    Logs:
        val/modes, test/modes (modes, higher): parts of the data that get at least a fifth of their
            fair share of the samples.
        val/on_data, test/on_data (fraction, higher): share of samples that lie on a part of the
            data.
        val/excess_nats, test/excess_nats (nats, lower): mean of log p_true(x) - log p(x) over the
            split's points; 0 for the true density.
    """

    def __init__(self, count: int = 10_000) -> None:
        self.count = count
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
        if is_plane(batch["image"]):
            self._points.append(batch["image"])

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._log(trainer, pl_module, "val")

    on_test_start = on_validation_start
    on_test_batch_end = on_validation_batch_end

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._log(trainer, pl_module, "test")

    def _log(self, trainer: L.Trainer, method: Any, split: str) -> None:
        data = data_of(trainer)
        if not self._points or not isinstance(data, KnownDensity):
            return
        points, figures = torch.cat(self._points), {}
        with still(method):
            if isinstance(method, Samples):
                found = data.component(method.sample(self.count).cpu())
                figures = coverage(found, data.num_classes)
            if isinstance(method, HasDensity):
                gap = data.log_prob(points.cpu()).to(points) - method.log_prob(points)
                figures["excess_nats"] = gap.mean()
        named = {f"{split}/{noun}": value.to(method.device) for noun, value in figures.items()}
        method.log_dict(named, batch_size=len(points), sync_dist=True)


def coverage(component: Tensor, parts: int) -> dict[str, Tensor]:
    """Number of parts of the data that samples reach, and share of samples that lie on one.

    Args:
        component: part of each sample, (N,) from 0 to ``parts`` - 1; -1 for one off the data.
        parts: number of parts, K.
    """
    counts = torch.bincount(component[component >= 0], minlength=parts)
    fair = len(component) / parts
    return {
        "modes": (counts >= COVERED * fair).sum().float(),
        "on_data": (component >= 0).float().mean(),
    }
