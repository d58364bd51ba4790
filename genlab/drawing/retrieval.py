"""Images with those found for them, framed by agreement."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from genlab.drawing.columns import FRAME, OTHER, SAME, UNKNOWN, WIDTH, enlarged
from genlab.drawing.text import LINE, fitting, length, write

MARGIN = 12  # pixels after the first column
HEAD = LINE + 4  # pixels of the title


def retrieved(
    query: Tensor,
    found: Tensor,
    agrees: Tensor | None,
    captions: Sequence[Sequence[str]],
    title: str,
    heads: tuple[str, str] | tuple[()] = (),
) -> np.ndarray:
    """A row for each image: the image, then those found for it in frames: (H, W, 3) bytes.

    Blue frames are of the same class, orange ones of another, grey ones of an unknown class; a line
    at the bottom says so.

    Args:
        query: images (N, C, h, w) in [0, 1].
        found: images found for each, (N, k, C, h, w) in [0, 1].
        agrees: 1 for the same class, 0 for another, -1 where one is unknown, (N, k); None for no
            frames.
        captions: texts below the images of a row, the first below ``query``, (N, k + 1).
        title: text above.
        heads: texts above the first column, and above the others.
    """
    side = max(WIDTH, *query.shape[-2:], *found.shape[-2:])
    count, columns = len(query), found.shape[1] + 1
    tile, height = side + 2 * FRAME + 2, side + 2 * FRAME + 2 + LINE
    wide = columns * tile + MARGIN
    above = HEAD + LINE * bool(heads)
    below = 0 if agrees is None else LINE
    picture = Image.new("RGB", (wide, above + count * height + below), "white")
    pen = ImageDraw.Draw(picture)
    write(pen, (3, 1), title)
    for left, text in zip((FRAME, tile + MARGIN + FRAME), heads, strict=False):
        write(pen, (left, HEAD - 2), text)
    every = torch.cat([query[:, None], found], 1)
    for row in range(count):
        tiles = _bytes(enlarged(every[row], side))
        for column in range(columns):
            left, top = column * tile + (MARGIN if column else 0), above + row * height
            if column and agrees is not None:
                frame = _colour(int(agrees[row, column - 1]))
                box = (left, top, left + side + 2 * FRAME - 1, top + side + 2 * FRAME - 1)
                pen.rectangle(box, fill=frame)
            picture.paste(Image.fromarray(tiles[column]), (left + FRAME, top + FRAME))
            text = fitting(captions[row][column], tile)
            write(pen, (left + FRAME + side // 2, top + side + 2 * FRAME), text, "ma")
    if agrees is not None:
        known, unknown = bool((agrees >= 0).any()), bool((agrees < 0).any())
        _legend(pen, above + count * height, unknown, known)
    return np.asarray(picture)


def _bytes(images: Tensor) -> np.ndarray:
    return (images.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def _colour(agrees: int) -> tuple[int, int, int]:
    return UNKNOWN if agrees < 0 else SAME if agrees else OTHER


def _legend(pen: ImageDraw.ImageDraw, top: int, unknown: bool, known: bool) -> None:
    left = FRAME
    words = {"same class": SAME, "other class": OTHER} if known else {}
    for text, colour in (words | ({"class unknown": UNKNOWN} if unknown else {})).items():
        pen.rectangle((left, top + 3, left + 8, top + 11), fill=colour)
        write(pen, (left + 12, top + 1), text)
        left += 24 + int(length(text))
