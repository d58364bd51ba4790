"""Grids: every number of a vector, and every channel of an image, is in the right place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from genlab.drawing.columns import titled
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


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_images_of_any_number_of_channels_are_shown(channels: int) -> None:
    """Of two the third colour is none; a fourth is left out."""
    image = torch.rand(1, channels, 48, 48)
    bytes_ = (image * 255).round().byte().numpy()[0]
    black = np.zeros((48, 48), dtype=np.uint8)
    wanted = {1: 3 * [bytes_[0]], 2: [*bytes_, black]}.get(channels, [*bytes_[:3]])
    found = grid(image)[2:50, 2:50]
    assert (found == np.stack(wanted, 2)).all()
    assert titled({"one": image, "two": image}).shape[2] == 3
