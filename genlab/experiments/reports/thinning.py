"""Fewer points of a curve for the same plot."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

PIXELS = 900  # columns of a wide chart
FEWEST = 60  # columns that still show a curve
ROOM = 600_000  # bytes of all curves of a page
BYTES = 8  # of a number and its comma


def resolution(lines: int, numbers: int) -> int:
    """Columns with which all curves of a page keep to `ROOM`.

    Args:
        lines: number of curves on the page.
        numbers: numbers of a point: 2, with a band 4.
    """
    return max(FEWEST, min(PIXELS, ROOM // max(1, 2 * lines * numbers * BYTES)))


def kept(x: NDArray[Any], y: NDArray[Any], pixels: int = PIXELS) -> list[int]:
    """Indices of the lowest and the highest point of each column of pixels, and of both ends.

    Args:
        x: steps, ascending, (N,).
        y: values, (N,); one that is not finite stays, as a gap.
        pixels: number of columns.
    """
    if len(x) <= 2 * pixels:
        return [*range(len(x))]
    width = (x[-1] - x[0]) or 1.0
    column = np.minimum(((x - x[0]) / width * pixels).astype(int), pixels - 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    found = {0, len(x) - 1}
    for first, end in zip(starts, [*starts[1:], len(x)], strict=True):
        part = y[first:end]
        finite = np.isfinite(part)
        if finite.all():
            found |= {int(first + part.argmin()), int(first + part.argmax())}
            continue
        found.add(int(first + np.argmin(finite)))
        if finite.any():
            low, high = np.where(finite, part, np.inf), np.where(finite, part, -np.inf)
            found |= {int(first + low.argmin()), int(first + high.argmax())}
    return sorted(found)
