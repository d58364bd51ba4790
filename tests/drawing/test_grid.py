"""Grids of vectors: every number is a pixel of the right grey in the right place."""

from __future__ import annotations

import torch

from genlab.drawing.grid import grid, squares


def test_numbers_of_a_vector_fill_a_square_row_by_row() -> None:
    found = squares(torch.arange(2 * 7).view(2, 7, 1, 1))
    assert found.shape == (2, 1, 3, 3)
    want = torch.cat([torch.arange(7) / 13, torch.full((2,), 0.75)])
    torch.testing.assert_close(found[0].flatten(), want)
    torch.testing.assert_close(found[1].flatten()[:7], torch.arange(7, 14) / 13)


def test_numbers_from_zero_to_one_keep_their_grey() -> None:
    vectors = torch.tensor([[0.25, 0.5, 0.75, 0.5]]).view(1, 4, 1, 1)
    assert squares(vectors).flatten().tolist() == [0.25, 0.5, 0.75, 0.5]
    assert squares(torch.full((1, 4, 1, 1), 5.0)).isfinite().all()


def test_a_grid_of_vectors_is_a_grid_of_squares() -> None:
    vectors = torch.rand(4, 63, 1, 1)
    assert (grid(vectors, 2) == grid(squares(vectors), 2)).all()
