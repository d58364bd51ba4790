"""Differentiable augmentation of what a GAN's critic sees, one draw per image.

Zhao, Liu, Lin, Zhu, Han 2020, arXiv:2006.10738 (DiffAugment); strengths of the reference code,
github.com/mit-han-lab/data-efficient-gans. Departures: none.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genlab.augment.draws import Draw, Params, Shape, uniform

OPERATIONS = ("color", "translation", "cutout")
NUMBERS = 7  # brightness, saturation, contrast; translation and cutout, down and right
TRANSLATION, CUTOUT = 1 / 8, 1 / 2  # of the image's side


def unit_draw(times: int) -> Draw:
    """Draw of ``unit``, (N, times, 7), uniform in [0, 1)."""

    def draw(shape: Shape, generator: torch.Generator) -> Params:
        return {"unit": uniform((shape[0], times, NUMBERS), 0.0, 1.0, generator)}

    return draw


def differentiable(image: Tensor, unit: Tensor, operations: Sequence[str]) -> Tensor:
    """Images under the operations that are named, with a gradient; values may leave [-1, 1].

    ``color`` adds up to 0.5 to the brightness, multiplies the saturation by 0 to 2 and the contrast
    by 0.5 to 1.5; saturation has no effect on one channel. ``translation`` moves by up to an eighth
    of the side, ``cutout`` hides a square of half the side whose centre lies anywhere. What they
    uncover is 0, grey.

    Args:
        image: (B, C, H, W) in [-1, 1].
        unit: draws, (B, 7), uniform in [0, 1), in float32 at least: half precision rounds those
            near 1 up to 1, a place beyond the last.
        operations: any of ``color``, ``translation``, ``cutout``.
    """
    if "color" in operations:
        image = _coloured(image, unit[:, :3, None, None, None].to(image.dtype))
    if "translation" in operations:
        for dim in (2, 3):
            most = int(image.shape[dim] * TRANSLATION + 0.5)
            shift = (unit[:, 1 + dim] * (2 * most + 1)).floor().long() - most
            image = _shifted(image, shift, dim)
    return _cut(image, unit[:, 5:]) if "cutout" in operations else image


def _coloured(image: Tensor, unit: Tensor) -> Tensor:
    image = image + (unit[:, 0] - 0.5)
    grey = image.mean(1, keepdim=True)
    image = grey + 2 * unit[:, 1] * (image - grey)
    mean = image.mean((1, 2, 3), keepdim=True)
    return mean + (0.5 + unit[:, 2]) * (image - mean)


def _shifted(image: Tensor, shift: Tensor, dim: int) -> Tensor:
    """Images moved by ``shift`` (B,) whole pixels along a dimension; zeros come in."""
    size = image.shape[dim]
    source = torch.arange(size, device=image.device) - shift[:, None]  # (B, size)
    inside = _along((source >= 0) & (source < size), dim)
    rows = _along(source.clamp(0, size - 1), dim).expand_as(image)
    return image.gather(dim, rows) * inside


def _cut(image: Tensor, unit: Tensor) -> Tensor:
    """Images with a square of zeros, clipped at the border; (B, 2) draws of its centre."""
    hidden = []
    for dim in (2, 3):
        side = image.shape[dim]
        size = int(side * CUTOUT + 0.5)
        first = (unit[:, dim - 2] * (side + 1 - size % 2)).floor() - size // 2  # (B,)
        place = torch.arange(side, device=image.device) - first[:, None]
        hidden.append(_along((place >= 0) & (place < size), dim))
    return image * ~(hidden[0] & hidden[1])


def _along(values: Tensor, dim: int) -> Tensor:
    """(B, size) as (B, 1, size, 1) for dimension 2, (B, 1, 1, size) for dimension 3."""
    return values[:, None, :, None] if dim == 2 else values[:, None, None, :]
