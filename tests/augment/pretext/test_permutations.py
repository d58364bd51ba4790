"""Sets of permutations: their distances, and that they are the same in every run."""

from __future__ import annotations

import pytest

from genlab.augment.pretext.permutations import permutation_set, smallest_distance


@pytest.mark.parametrize(
    ("grid", "count", "distance"),
    [(2, 4, 4), (2, 12, 3), (2, 24, 2), (3, 9, 9), (3, 72, 8), (3, 504, 7)],
)
def test_a_set_has_its_size_and_smallest_distance(grid: int, count: int, distance: int) -> None:
    """JG1."""
    rows = permutation_set(grid, count)
    assert len(set(rows)) == len(rows) == count
    assert all(sorted(row) == list(range(grid**2)) for row in rows)
    assert rows[0] == tuple(range(grid**2))
    assert smallest_distance(rows) == distance


def test_the_greedy_set_is_the_same_everywhere() -> None:
    rows = permutation_set(3, 8)
    first = ["".join(map(str, row)) for row in rows[:4]]
    assert first == ["012345678", "103254786", "230167845", "321078564"]


@pytest.mark.slow
def test_a_hundred_differ_at_six_places_at_least() -> None:
    assert smallest_distance(permutation_set(3, 100)) == 6


@pytest.mark.parametrize(("grid", "count"), [(2, 23), (2, 25), (3, 1), (3, 1001), (4, 24)])
def test_other_numbers_are_refused(grid: int, count: int) -> None:
    with pytest.raises(ValueError, match=f"permutations {count} of {grid} x {grid} tiles: choose"):
        permutation_set(grid, count)
