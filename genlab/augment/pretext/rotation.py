"""Rotation by quarter turns."""

from __future__ import annotations

import torch
from torch import Tensor

TURNS = 4


def quarter_turns(image: Tensor) -> Tensor:
    """Every image by 0, 90, 180 and 270 degrees counter-clockwise, exact: no pixel is interpolated.

    Args:
        image: (B, C, H, H).

    Returns:
        (4B, C, H, H): all images as they are, then all by 90 degrees, and so on.

    Raises:
        ValueError: an image is not square.
    """
    if image.shape[-1] != image.shape[-2]:
        raise ValueError(f"rotation requires square images, not {tuple(image.shape[-2:])}")
    return torch.cat([torch.rot90(image, k, (2, 3)) for k in range(TURNS)])


def turn(image: Tensor, quarters: Tensor) -> Tensor:
    """Each image (B, C, H, H) by its number of quarter turns (B,), counter-clockwise."""
    each = quarter_turns(image).unflatten(0, (TURNS, -1))  # (4, B, C, H, H)
    rows = torch.arange(len(image), device=image.device)
    return each[quarters.remainder(TURNS), rows]
