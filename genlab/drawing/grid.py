"""Image grids."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from genlab.contracts import number_of_classes
from genlab.drawing.points import draw, is_plane
from genlab.files import rewriting

TILE = 48  # pixels: smaller images are enlarged by a whole factor until they reach it
LINE = 0.75  # grey of the lines between tiles
REACH = 3.0  # half the side of the square of points shown: the same in all frames of a film


def grid(images: Tensor, columns: int | None = None) -> np.ndarray:
    """Tile images: (N, C, H, W) in [0, 1] -> (H', W', 3) bytes.

    Small images are enlarged by a whole factor, so that every pixel stays a square; a thin light
    line separates the tiles. ``columns`` defaults to a square arrangement. Two channels are red and
    green, of more than three the first three are shown. Points in the plane, (N, 2, 1, 1), are a
    cloud of dots instead; other vectors, (N, D, 1, 1), are `squares`.
    """
    if is_plane(images):
        return draw({f"{len(images):,} points": images}, REACH)
    if images.shape[2:] == (1, 1):
        images = squares(images)
    images = coloured(images).clamp(0, 1)
    n, _, height, width = images.shape
    factor = max(1, math.ceil(TILE / max(height, width)))
    tiles = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    columns = columns or math.ceil(math.sqrt(n))
    rows, tile_h, tile_w = math.ceil(n / columns), tiles.shape[2] + 2, tiles.shape[3] + 2
    sheet = torch.full((3, rows * tile_h + 2, columns * tile_w + 2), LINE)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * tile_h + 2, (i % columns) * tile_w + 2
        sheet[:, top : top + tile_h - 2, left : left + tile_w - 2] = tile
    return (sheet * 255).round().byte().permute(1, 2, 0).numpy()


def coloured(images: Tensor) -> Tensor:
    """Red, green and blue of images of any number of channels: (N, C, H, W) -> (N, 3, H, W)."""
    images = images.detach().float().cpu()
    if images.shape[1] == 1:
        return images.expand(-1, 3, -1, -1)
    return F.pad(images, (0, 0, 0, 0, 0, max(0, 3 - images.shape[1])))[:, :3]


def squares(vectors: Tensor) -> Tensor:
    """Numbers of each vector, row by row in the smallest square that holds them, as grey images.

    Numbers within [0, 1] keep their grey; others reach from the smallest of all (black) to the
    largest (white). Pixels beyond the last number have the colour of the lines of a `grid`.

    Args:
        vectors: (N, D, 1, 1).

    Returns:
        (N, 1, S, S) in [0, 1].
    """
    flat = vectors.detach().float().cpu().flatten(1)
    low, high = min(float(flat.min()), 0.0), max(float(flat.max()), 1.0)
    if low < 0 or high > 1:
        low, high = float(flat.min()), float(flat.max())
    side = math.isqrt(flat.shape[1] - 1) + 1
    grey = torch.full((len(flat), side * side), LINE)
    grey[:, : flat.shape[1]] = (flat - low) / max(high - low, 1e-12)
    return grey.view(-1, 1, side, side)


def write(picture: np.ndarray, file: Path) -> Path:
    """Write an image (H, W, 3) of bytes in one step and return its path.

    Raises:
        OSError: the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = Image.registered_extensions()[file.suffix.lower()]
    with rewriting(file) as opened:
        Image.fromarray(picture).save(opened, format=kind)
    return file


def class_rows(method: Any, n: int, **options: Any) -> tuple[Tensor, int | None]:
    """About n samples and the number of columns to show them in, one row per class if any."""
    classes = number_of_classes(method)
    if not classes:
        return method.sample(n, **options), None
    columns = max(1, round(n / classes))
    label = torch.arange(classes).repeat_interleave(columns)
    return method.sample(classes * columns, label=label, **options), columns


def pairs(originals: Tensor, others: Tensor, columns: int = 8) -> Tensor:
    """Rows of originals, each followed by a row of counterparts, for a grid of ``columns``."""
    rows = [
        part
        for pair in zip(originals.split(columns), others.split(columns), strict=True)
        for part in pair
    ]
    return torch.cat([row for row in rows if len(row) == columns] or rows)
