"""Fewer points of a curve for the same plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PIXELS = 900  # columns of a wide chart


def thin(
    steps: Sequence[float] | NDArray[Any],
    values: Sequence[float] | NDArray[Any],
    pixels: int = PIXELS,
) -> tuple[list[float], list[float]]:
    """A curve with the lowest and the highest point of each column of pixels, and both its ends.

    Args:
        steps: x of each point, ascending, (N,).
        values: y of each point, (N,); one that is not finite stays, as a gap.
        pixels: number of columns.
    """
    x, y = np.asarray(steps, dtype=float), np.asarray(values, dtype=float)
    if len(x) <= 2 * pixels:
        return x.tolist(), y.tolist()
    width = (x[-1] - x[0]) or 1.0
    column = np.minimum(((x - x[0]) / width * pixels).astype(int), pixels - 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    kept = {0, len(x) - 1}
    for first, end in zip(starts, [*starts[1:], len(x)], strict=True):
        part = y[first:end]
        finite = np.isfinite(part)
        if finite.all():
            kept |= {int(first + part.argmin()), int(first + part.argmax())}
            continue
        kept.add(int(first + np.argmin(finite)))
        if finite.any():
            low, high = np.where(finite, part, np.inf), np.where(finite, part, -np.inf)
            kept |= {int(first + low.argmin()), int(first + high.argmax())}
    order = sorted(kept)
    return x[order].tolist(), y[order].tolist()
