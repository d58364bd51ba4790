"""Columns of images with a title each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from genlab.drawing.grid import coloured, grid
from genlab.drawing.text import LINE, fitting, wrapped, write

WIDTH = 96  # pixels of a column at least
FRAME = 4  # pixels
# Okabe & Ito 2008: colours that colour-blind readers tell apart
SAME, OTHER, UNKNOWN = (0, 114, 178), (230, 159, 0), (190, 190, 190)
OUTLINE = (213, 94, 0)


def titled(
    columns: Mapping[str, Tensor],
    title: str = "",
    answers: Sequence[tuple[str, str]] = (),
    boxes: Tensor | None = None,
    captions: Sequence[str] = (),
) -> np.ndarray:
    """Images side by side, a row each, under the titles of their columns: (H, W, 3) bytes.

    Args:
        columns: title -> images (N, C, h, w) in [0, 1], of any size. Small ones are enlarged by a
            whole factor and stand in the middle of their tile.
        title: text above, in as many lines as it needs.
        answers: right and given answer of each row. The last column gets frames, blue where both
            agree, orange where not, with the given answer below, and the right one below the first.
        boxes: top, left, height, width in pixels (N, 4) that are outlined in the last column.
        captions: texts below, each in as many lines as it needs.
    """
    side = max(WIDTH, *(max(images.shape[-2:]) for images in columns.values()))
    tiled = [enlarged(images, side) for images in columns.values()]
    if boxes is not None:
        _outline(tiled[-1], boxes, list(columns.values())[-1].shape[-2:])
    width, height = side + 2, side + 2
    if answers:
        tiled = [F.pad(images, (FRAME,) * 4, value=1) for images in tiled]
        for images, (right, told) in zip(tiled[-1], answers, strict=True):
            _frame(images, SAME if right == told else OTHER)
        tiled = [F.pad(images, (0, 0, 0, LINE), value=1) for images in tiled]
        width, height = width + 2 * FRAME, height + 2 * FRAME + LINE
    tiles = grid(torch.stack(tiled, 1).flatten(0, 1), len(tiled))
    room = tiles.shape[1] - 6
    above = wrapped(title, room)
    below = wrapped("frames: blue right, orange wrong" if answers else "", room) + [
        line for text in captions for line in wrapped(text, room, "  ")
    ]
    top = LINE * (len(above) + 1)
    picture = Image.new("RGB", (tiles.shape[1], top + tiles.shape[0] + LINE * len(below)), "white")
    picture.paste(Image.fromarray(tiles), (0, top))
    pen = ImageDraw.Draw(picture)
    for row, line in enumerate(above):
        write(pen, (3, 1 + LINE * row), line)
    for k, name in enumerate(columns):
        write(pen, (k * width + width // 2, top - LINE + 1), fitting(name, width), "ma")
    for row, (right, told) in enumerate(answers):
        for k, text in ((0, f"is {right}"), (len(columns) - 1, f"told {told}")):
            place = (k * width + width // 2, top + (row + 1) * height - LINE + 1)
            write(pen, place, fitting(text, width), "ma")
    for row, line in enumerate(below):
        write(pen, (3, top + tiles.shape[0] + LINE * row), line)
    return np.asarray(picture)


def enlarged(images: Tensor, side: int) -> Tensor:
    """Images (N, C, h, w) in squares (N, 3, side, side), enlarged by a whole factor, on grey."""
    images = coloured(images)
    factor = max(1, side // max(images.shape[-2:]))
    images = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    down, across = (side - length for length in images.shape[-2:])
    margins = (across // 2, across - across // 2, down // 2, down - down // 2)
    return F.pad(images, margins, value=0.75)


def _colour(rgb: tuple[int, int, int]) -> Tensor:
    return torch.tensor(rgb).div(255)[:, None, None]


def _frame(image: Tensor, rgb: tuple[int, int, int]) -> None:
    """Paint the outermost `FRAME` pixels of (3, h, w)."""
    inner = image[:, FRAME:-FRAME, FRAME:-FRAME].clone()
    image[:] = _colour(rgb)
    image[:, FRAME:-FRAME, FRAME:-FRAME] = inner


def _outline(tiles: Tensor, boxes: Tensor, shape: torch.Size) -> None:
    """Outline boxes of images of that shape (h, w) in their squares of `enlarged`, one pixel."""
    side = tiles.shape[-1]
    factor = max(1, side // max(shape))
    down, across = ((side - factor * length) // 2 for length in shape)
    for tile, box in zip(tiles, boxes.tolist(), strict=True):
        top, left, tall, wide = (factor * length for length in box)
        rows = slice(max(0, down + top - 1), down + top + tall + 1)
        columns = slice(max(0, across + left - 1), across + left + wide + 1)
        there = tile[:, rows, columns]
        inner = there[:, 1:-1, 1:-1].clone()
        there[:] = _colour(OUTLINE)
        there[:, 1:-1, 1:-1] = inner
