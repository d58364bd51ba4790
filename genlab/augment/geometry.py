"""Geometric operations: flips, translations and affine resampling, one map per image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.augment.draws import constant

PADDING = {"reflect": "reflection", "zeros": "zeros"}  # our name -> grid_sample's


def flip(image: Tensor, flipped: Tensor) -> Tensor:
    """Mirror left and right the images where ``flipped`` (N,) bool."""
    return torch.where(flipped[:, None, None, None], image.flip(3), image)


def translate(image: Tensor, shift: Tensor, most: int, padding: str) -> Tensor:
    """A crop of the padded image: whole pixels, copied and never mixed.

    Args:
        image: (N, C, H, W).
        shift: (N, 2) int64, pixels by which the image moves up and left, in -most ... most.
        most: pixels of padding on every side; less than H and W when they are reflected.
        padding: ``reflect`` (the border pixel itself is not repeated) or ``zeros``.

    Raises:
        ValueError: more reflected pixels than the image has.
    """
    height, width = image.shape[2:]
    if padding == "reflect" and most >= min(height, width):
        raise ValueError(
            f"translate {most} must be less than the image's side {min(height, width)}"
        )
    mode = "reflect" if padding == "reflect" else "constant"
    windows = F.pad(image, (most,) * 4, mode=mode).unfold(2, height, 1).unfold(3, width, 1)
    rows = torch.arange(len(image), device=image.device)
    return windows[rows, :, shift[:, 0] + most, shift[:, 1] + most]


def affine(angle: Tensor, scale: Tensor, shear: Tensor, aspect: float = 1.0) -> Tensor:
    """Affine maps from output to input coordinates in [-1, 1], about the centre.

    The image is sheared, then scaled, then rotated, as in torchvision's `affine`.

    Args:
        angle: (N,) degrees, clockwise.
        scale: (N,) factor.
        shear: (N,) degrees along x.
        aspect: width over height.

    Returns:
        (N, 2, 3).
    """
    turn, slope = angle.deg2rad(), shear.deg2rad().tan()
    cos, sin, zero = turn.cos(), turn.sin(), torch.zeros_like(turn)
    x = torch.stack([cos + slope * -sin, (sin + slope * cos) / aspect, zero], 1)
    y = torch.stack([-sin * aspect, cos, zero], 1)
    return torch.stack([x, y], 1) / scale[:, None, None]


def into_box(theta: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """The map ``theta`` (N, 2, 3) followed by that of the unit square onto each box (N, 4)."""
    top, left, tall, wide = boxes.unbind(1)
    half = torch.stack([wide / width, tall / height], 1)  # (N, 2): x, y
    centre = torch.stack([(2 * left + wide) / width - 1, (2 * top + tall) / height - 1], 1)
    inner = theta * half[:, :, None]
    return torch.cat([inner[:, :, :2], inner[:, :, 2:] + centre[:, :, None]], 2)


def resample(image: Tensor, theta: Tensor, padding: str, boxes: Tensor | None = None) -> Tensor:
    """The image (N, C, H, W) seen through each map (N, 2, 3), bilinear.

    With ``boxes`` (N, 4) nothing outside them is read, as if the image had been cropped first.
    """
    height, width = image.shape[2:]
    grid = F.affine_grid(theta, [len(image), 1, height, width], align_corners=False)
    if boxes is not None:
        size = constant((width, height), image.device, torch.int64)
        start = boxes[:, :2].flip(1)  # (N, 2): x, y
        end = start + boxes[:, 2:].flip(1)
        low, high = (2 * start + 1) / size - 1, (2 * end - 1) / size - 1  # centres of the outermost
        grid = grid.clamp(low[:, None, None], high[:, None, None])
    return F.grid_sample(image, grid, padding_mode=PADDING[padding], align_corners=False)
