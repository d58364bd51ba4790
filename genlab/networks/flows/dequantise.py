"""Dequantisation and preprocessing: bytes to real numbers that a flow can model, and back.

Uniform dequantisation: Theis, van den Oord, Bethge 2015, arXiv:1511.01844; the logit: RealNVP and
Papamakarios, Pavlakou, Murray 2017, arXiv:1705.07057 (MAF, with alpha 1e-6).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PREPROCESSES = ("none", "unit", "centred", "symmetric", "logit")
AFFINE = {"unit": (1.0, 0.0), "centred": (1.0, -0.5), "symmetric": (2.0, -1.0)}  # factor, shift


class Pixels(nn.Module):
    """A pixel of ``levels`` values, spread over its cell by noise in [0, 1), then mapped.

    The log-determinant counts from cells of size 1, so that ``log p(z) + log_det`` is the density
    of ``level + noise`` in [0, levels): its mean over the noise bounds log P(image) from below,
    and bits per dimension are ``-log_prob / (D log 2)`` whatever the mapping.

    Args:
        preprocess: ``unit``: to [0, 1); ``centred``: to [-.5, .5); ``symmetric``: to [-1, 1);
            ``logit``: the logit of alpha + (1 - 2 alpha) x, x in [0, 1);
            ``none``: real-valued data, neither noise nor mapping.
        levels: 256 for bytes; 17 for scikit-learn's digits.
        alpha: keeps the logit finite.

    Raises:
        ValueError: unknown preprocess, fewer than two levels, or alpha outside (0, 0.5).
    """

    def __init__(self, preprocess: str = "logit", levels: int = 256, alpha: float = 0.05) -> None:
        super().__init__()
        if preprocess not in PREPROCESSES:
            raise ValueError(
                f"unknown preprocess {preprocess!r}; choose from {', '.join(PREPROCESSES)}"
            )
        if levels < 2 or not 0 < alpha < 0.5:
            raise ValueError(f"levels {levels} must be at least 2, and 0 < alpha {alpha} < 0.5")
        self.preprocess, self.levels, self.alpha = preprocess, levels, alpha

    @property
    def quantised(self) -> bool:
        """True if images are whole levels, so that bits per dimension are meaningful."""
        return self.preprocess != "none"

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Dequantise: image in [0, 1] and noise in [0, 1), 2 x (B, C, H, W) -> same shape, (B,)."""
        image = image if image.dtype == torch.float64 else image.float()
        if not self.quantised:
            return image, image.new_zeros(len(image))
        level = (image * (self.levels - 1)).round().clamp(0, self.levels - 1)
        x = (level + noise.to(image.dtype)) / self.levels  # [0, 1)
        if self.preprocess == "logit":
            y, log_slope = self._logit(x)
        else:
            factor, shift = AFFINE[self.preprocess]
            y, log_slope = factor * x + shift, torch.full_like(x, math.log(factor))
        return y, (log_slope - math.log(self.levels)).flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """Quantise to the cell that contains ``y``: (B, C, H, W) -> (B, C, H, W) in [0, 1]."""
        if not self.quantised:
            return y
        if self.preprocess == "logit":
            x = (torch.sigmoid(y) - self.alpha) / (1 - 2 * self.alpha)
        else:
            factor, shift = AFFINE[self.preprocess]
            x = (y - shift) / factor
        return (x * self.levels).floor().clamp(0, self.levels - 1) / (self.levels - 1)

    def _logit(self, x: Tensor) -> tuple[Tensor, Tensor]:
        inner = self.alpha + (1 - 2 * self.alpha) * x
        y = inner.log() - (-inner).log1p()
        log_slope = F.softplus(y) + F.softplus(-y) + math.log(1 - 2 * self.alpha)
        return y, log_slope
