"""Text around grids: the grid stays as it is, and words stand beside what they name."""

from __future__ import annotations

import numpy as np

from genlab.drawing.lettering import GAP, LEAST, lettered
from genlab.drawing.text import LINE

GRID = np.full((4 * 50 + 2, 6 * 50 + 2, 3), 190, dtype=np.uint8)


def test_without_words_nothing_is_added() -> None:
    assert lettered(GRID) is GRID


def test_the_grid_stays_as_it_is_below_a_title() -> None:
    found = lettered(GRID, "vae/digits, step 10: samples")
    assert found.shape == (LINE + GAP + 202, 302, 3)
    assert np.array_equal(found[LINE + GAP :], GRID)
    assert (found[: LINE + GAP] < 128).any()


def test_a_long_title_has_more_lines_and_a_small_grid_more_room() -> None:
    small = GRID[:52, :52]
    found = lettered(small, "a title of many words " * 5)
    assert found.shape[1] == LEAST
    assert found.shape[0] > 52 + GAP + 2 * LINE
    assert np.array_equal(found[-52:, :52], small)


def test_names_stand_beside_their_rows_and_heads_above_their_columns() -> None:
    found = lettered(GRID, rows=["i", "", "", ""], heads=["", "", "", "", "", "i"])
    left = found.shape[1] - 302
    dark = np.flatnonzero((found[:, :left] < 128).any((1, 2))) - LINE - GAP
    assert 10 < dark.min() <= dark.max() < 40  # of the first row's 50 pixels
    dark = np.flatnonzero((found[: LINE + GAP] < 128).any((0, 2))) - left
    assert 260 < dark.min() <= dark.max() < 300  # above the last column
