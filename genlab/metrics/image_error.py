"""Error of predicted images and of a baseline, in decibels of the mean."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric


class ImageError(Metric):
    """Peak signal-to-noise ratio of a split: -10 log10 of its mean squared error, images in [0, 1].

    Of the mean error; the mean of the images' decibels is another number, and a larger one.

    Logs:
        val/psnr (dB, higher): peak signal-to-noise ratio of the task's output, of the mean squared
            error of all pixels that it is asked for.
        val/psnr_baseline (dB): that of the answer without learning that the method names.
        val/psnr_gain (dB, higher): val/psnr minus val/psnr_baseline.
    """

    full_state_update = False
    error: Tensor
    baseline: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name in ("error", "baseline", "count"):
            self.add_state(name, default=torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(
        self, output: Tensor, target: Tensor, baseline: Tensor, where: Tensor | None = None
    ) -> None:
        """Add images (B, C, H, W) in [0, 1]; ``where`` (B, 1, H, W) says which pixels count."""
        here = torch.ones_like(target) if where is None else where.expand_as(target).to(target)
        for name, image in (("error", output), ("baseline", baseline)):
            error = ((image - target).square() * here).sum(dtype=torch.float64)
            setattr(self, name, getattr(self, name) + error)
        self.count = self.count + here.sum(dtype=torch.float64)

    def compute(self) -> dict[str, Tensor]:
        """``psnr``, ``psnr_baseline`` and ``psnr_gain`` in dB."""
        psnr, baseline = (
            -10 * (error / self.count.clamp(min=1)).clamp(min=1e-12).log10()
            for error in (self.error, self.baseline)
        )
        found = {"psnr": psnr, "psnr_baseline": baseline, "psnr_gain": psnr - baseline}
        return {name: value.float() for name, value in found.items()}
