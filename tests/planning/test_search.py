"""Batches that a search tries, on memory that grows in several ways."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from genlab.planning.search import MORE, Search

ROOM, EMPTY, MB = 40_000 * 10**6, 500 * 10**6, 10**6
Memory = Callable[[int], float]
GROWTH: dict[str, tuple[Memory, int]] = {  # bytes by batch, and steps from a batch of two
    "a line": (lambda n: EMPTY + 50 * MB * n, 2),
    "parts that do not grow": (lambda n: 5 * EMPTY + 50 * MB * n, 3),
    "slightly convex": (lambda n: 700 * MB + 50 * MB * n * (1 + n / 25_000), 3),
    "convex": (lambda n: EMPTY + 50 * MB * n + 2000 * n * n, 3),
    "a second moment near the end": (lambda n: EMPTY + max(50 * n, 53 * n - 1500) * MB, 3),
}


@pytest.mark.parametrize("start", [2, 128, 650, 1024])
@pytest.mark.parametrize("name", GROWTH)
def test_few_steps_find_a_batch_that_fits_while_five_percent_more_does_not(
    name: str, start: int
) -> None:
    needed, steps = GROWTH[name]
    search = Search(EMPTY, ROOM, 1, float("inf"), {start: int(needed(start))})
    while (size := search.next()) is not None:
        search.known[size] = int(needed(size))
    assert len(search.known) <= max(3, steps)
    if start == 2:
        assert len(search.known) == steps
    assert search.beyond is not None
    above, least = search.beyond
    assert above <= search.fitting * MORE
    assert search.known[search.fitting] <= ROOM < least <= needed(above)
    assert needed(search.fitting) > 0.96 * ROOM
