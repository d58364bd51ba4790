"""CIE L*a*b* of sRGB images, white point D65: lightness apart from colour."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.augment.draws import constant

TO_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)  # IEC 61966-2-1
FROM_XYZ = (
    (3.2404542, -1.5371385, -0.4985314),
    (-0.9692660, 1.8760108, 0.0415560),
    (0.0556434, -0.2040259, 1.0572252),
)
WHITE = (0.95047, 1.0, 1.08883)
STEP = 6 / 29  # below its cube the root of L*a*b* is a line


def rgb_to_lab(image: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 1] -> L in 0 ... 100, a and b: (N, 3, H, W), float32 at least."""
    image = _exact(image)
    linear = torch.where(
        image <= 0.04045, image / 12.92, ((image.clamp(min=0) + 0.055) / 1.055) ** 2.4
    )
    xyz = _mixed(linear, TO_XYZ) / _column(WHITE, image)
    line = xyz / (3 * STEP**2) + 4 / 29
    x, y, z = torch.where(xyz > STEP**3, xyz.clamp(min=STEP**3) ** (1 / 3), line).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """L, a, b (N, 3, H, W) -> (N, 3, H, W) in [0, 1]; what lies outside sRGB is cut to it."""
    lightness, a, b = _exact(lab).unbind(1)
    y = (lightness + 16) / 116
    root = torch.stack([y + a / 500, y, y - b / 200], 1)
    xyz = torch.where(root > STEP, root**3, 3 * STEP**2 * (root - 4 / 29))
    linear = _mixed(xyz * _column(WHITE, root), FROM_XYZ).clamp(0, 1)
    bright = 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, bright).clamp(0, 1)


def _exact(image: Tensor) -> Tensor:
    return image.to(torch.promote_types(image.dtype, torch.float32))


def _mixed(image: Tensor, weights: tuple[tuple[float, ...], ...]) -> Tensor:
    """Every channel a sum of all three; no matrix product, which autocast would round."""
    rows = [
        sum(weight * channel for weight, channel in zip(row, image.unbind(1), strict=True))
        for row in weights
    ]
    return torch.stack(rows, 1)  # type: ignore[arg-type]


def _column(numbers: tuple[float, ...], like: Tensor) -> Tensor:
    return constant(numbers, like.device, like.dtype)[:, None, None]
