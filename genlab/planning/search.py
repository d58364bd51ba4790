"""Search for the largest batch that fits: few steps, for memory grows nearly by the same."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

MORE = 1.05  # a batch that does not fit is at most so much larger than the one that is named
NEAR = 1.02
AIM, FAR = 0.995, 0.98  # of the GPU's memory: between two batches, and beyond the largest
APART, EXACT, SURE = 0.9, 0.02, 1.01  # of a line: ratio of batches, error, need over the room


@dataclass
class Search:
    """Batches that were tried on a GPU, and what follows from them.

    Args:
        fixed: bytes that an empty batch would need.
        room: bytes of the GPU.
        unit: images by which a batch can grow.
        most: largest batch that anything but memory allows.
    """

    fixed: int
    room: int
    unit: int
    most: float
    known: dict[int, int] = field(default_factory=dict)  # bytes by batch
    refused: float = math.inf  # the smallest batch known to be too large for the method

    def __post_init__(self) -> None:
        self.least = self.unit  # the smallest batch that the method takes

    @property
    def fitting(self) -> int:
        """Largest batch that is known to fit; 0 for none."""
        return max((size for size, needed in self.known.items() if needed <= self.room), default=0)

    @property
    def beyond(self) -> tuple[int, int] | None:
        """Smallest batch that is known not to fit, with its bytes; None for none."""
        found = self._by_line() | self.known
        failing = [item for item in found.items() if item[1] > self.room]
        return min(failing, default=None)

    def next(self) -> int | None:
        """The next batch to try; None where the largest is found."""
        fitting, failing = self.fitting, (self.beyond or (None,))[0]
        limit = self.most if math.isinf(self.most) else self.most // self.unit * self.unit
        nearest = self._above() if fitting else self.least
        if fitting >= limit or min(failing or math.inf, self.refused) <= nearest:
            return None
        guess = self._guess(failing) // self.unit * self.unit
        if fitting and guess <= NEAR * fitting:
            guess = self._above()
        if guess >= self.refused:
            middle = math.isqrt(max(1, fitting) * int(self.refused))
            guess = max(nearest, middle // self.unit * self.unit)
        highest = limit if failing is None else failing - self.unit
        return int(max(fitting + self.unit, self.least, min(guess, highest)))

    def _above(self) -> int:
        """A batch at most 5 % larger than the largest that fits, or the next one."""
        most = math.floor(self.fitting * MORE / self.unit) * self.unit
        return max(self.fitting + self.unit, most)

    def _guess(self, failing: int | None) -> int:
        """Batch that would fill the room, on a line through two known ones."""
        points = {0: self.fixed} | self.known
        if failing is not None:
            guess = _on_line(points, int(self.room * AIM))
            between = {size: points[size] for size in (self.fitting, failing)}
            return guess if guess < failing else _on_line(between, int(self.room * AIM))
        return _on_line(points, int(self.room * FAR))

    def _by_line(self) -> dict[int, int]:
        """What the batch above the largest that fits needs at least, from three near a line.

        Memory is the most of several moments that grow by lines, and so by more and more.

        Returns:
            nothing where they are not near one, or where the line says that it may fit.
        """
        points = {0: self.fixed} | self.known
        last, above = self.fitting, self._above()
        far = sorted(size for size in points if size <= APART * last)[-2:]
        if len(far) < 2 or above > self.most:
            return {}
        slopes = [(points[last] - points[size]) / (last - size) for size in far]
        off = abs(points[last] - slopes[0] * (last - far[1]) - points[far[1]])
        needed = int(points[last] + min(slopes) * (above - last))
        sure = off <= EXACT * points[last] and needed > SURE * self.room
        return {above: needed} if sure else {}


def _on_line(known: dict[int, int], room: int) -> int:
    """Batch that would fill the room, on the line through the two known ones nearest to it."""
    nearest = sorted(known, key=lambda size: abs(known[size] - room))[:2]
    (small, less), (large, more) = ((size, known[size]) for size in sorted(nearest))
    each = max(1.0, (more - less) / (large - small))
    return max(1, int(small + (room - less) / each))
