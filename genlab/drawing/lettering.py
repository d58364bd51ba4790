"""Text around a grid of images: a title, heads of columns, names of rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from genlab.drawing.text import LINE, fitting, length, wrapped, write

LEAST = 240  # pixels across, for a title above a small grid
MOST = 140  # pixels of a row's name
GAP = 4


def lettered(
    picture: np.ndarray, title: str = "", rows: Sequence[str] = (), heads: Sequence[str] = ()
) -> np.ndarray:
    """An image with text on white around it: (H, W, 3) bytes; itself where there is no text.

    Args:
        picture: a `grid` of images, (H, W, 3) bytes; it stays as it is, at the bottom right.
        title: text above, in as many lines as it needs.
        rows: names left of its rows, which are equally high.
        heads: texts above its columns, which are equally wide.
    """
    if not (title or rows or heads):
        return picture
    names = [fitting(name, MOST) for name in rows]
    left = max((int(length(name)) + 2 * GAP for name in names), default=0)
    height, width = picture.shape[:2]
    lines = wrapped(title, max(left + width, LEAST) - 2 * GAP)
    top = LINE * (len(lines) + bool(heads)) + GAP
    sheet = Image.new("RGB", (max(left + width, LEAST), top + height), "white")
    sheet.paste(Image.fromarray(picture), (left, top))
    pen = ImageDraw.Draw(sheet)
    for k, line in enumerate(lines):
        write(pen, (GAP, 1 + LINE * k), line)
    for k, name in enumerate(names):
        write(pen, (GAP, top + height * (2 * k + 1) // (2 * len(names))), name, "lm")
    for k, head in enumerate(heads):
        middle = left + width * (2 * k + 1) // (2 * len(heads))
        write(pen, (middle, top - LINE), fitting(head, width // len(heads)), "ma")
    return np.asarray(sheet)


def class_names(known: Sequence[object] | None, count: int) -> list[str]:
    """Names of that many classes; their numbers where other names are known, or none."""
    names = [str(name) for name in known or ()]
    return names if len(names) == count else [str(number) for number in range(count)]
