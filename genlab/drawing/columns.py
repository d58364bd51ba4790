"""Columns of images with a title each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from genlab.drawing.grid import coloured, grid

LINE = 14  # pixels of a line of text
WIDTH = 96  # pixels of a column at least


def titled(columns: Mapping[str, Tensor]) -> np.ndarray:
    """Images side by side, a row each, under the titles of their columns: (H, W, 3) bytes.

    Args:
        columns: title -> images (N, C, h, w) in [0, 1], of any size. Small ones are enlarged by a
            whole factor and stand in the middle of their tile.
    """
    side = max(WIDTH, *(max(images.shape[-2:]) for images in columns.values()))
    tiled = [enlarged(images, side) for images in columns.values()]
    tiles = grid(torch.stack(tiled, 1).flatten(0, 1), len(tiled))
    picture = Image.new("RGB", (tiles.shape[1], tiles.shape[0] + LINE), "white")
    picture.paste(Image.fromarray(tiles), (0, LINE))
    pen = ImageDraw.Draw(picture)
    for k, title in enumerate(columns):
        pen.text((k * (side + 2) + side // 2, 1), title, "black", anchor="ma")
    return np.asarray(picture)


def enlarged(images: Tensor, side: int) -> Tensor:
    """Images (N, C, h, w) in squares (N, 3, side, side), enlarged by a whole factor, on grey."""
    images = coloured(images)
    factor = max(1, side // max(images.shape[-2:]))
    images = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    down, across = (side - length for length in images.shape[-2:])
    margins = (across // 2, across - across // 2, down // 2, down - down // 2)
    return F.pad(images, margins, value=0.75)
