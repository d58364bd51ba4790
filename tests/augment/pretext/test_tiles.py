"""Tiles: where they are cut, and what their guards take away."""

from __future__ import annotations

import torch

from genlab.augment.pretext.tiles import (
    assembled,
    cell_corners,
    colour_guard,
    cut,
    draw_colour_guard,
    standardised,
)


def test_a_tile_is_the_window_at_its_corner() -> None:
    image = torch.rand(2, 3, 9, 9)
    corner = torch.tensor([[[0, 0], [5, 2]], [[1, 4], [4, 5]]])
    tiles = cut(image, corner, 4)
    for b in range(2):
        for k in range(2):
            top, left = corner[b, k].tolist()
            assert torch.equal(tiles[b, k], image[b, :, top : top + 4, left : left + 4])


def test_tiles_stay_in_their_cells_at_places_of_their_own() -> None:
    """JG2."""
    generator = torch.Generator().manual_seed(0)
    corner = cell_corners((500, 1, 29, 29), 2, 11, generator)  # cells of 14, a margin of 0
    place = corner - torch.tensor([[0, 0], [0, 14], [14, 0], [14, 14]])
    assert int(place.min()) == 0
    assert int(place.max()) == 3
    apart = place - place.roll(1, 1)
    assert float((apart == 0).all(2).float().mean()) < 0.1  # of 16 places each
    assert len({tuple(row) for row in place.flatten(0, 1).tolist()}) == 16


def test_standardised_tiles_say_nothing_by_mean_and_deviation() -> None:
    tiles = standardised(torch.rand(4, 9, 3, 5, 5, dtype=torch.float64) * 0.3 + 0.2)
    zero = torch.zeros(4, 9, 3, dtype=torch.float64)
    torch.testing.assert_close(tiles.mean((3, 4)), zero)
    torch.testing.assert_close(tiles.square().mean((3, 4)), zero + 1)
    assert float(standardised(torch.full((1, 1, 4, 4), 0.3)).abs().max()) < 1e-6


def test_the_colour_guard_shifts_channels_apart_or_makes_grey() -> None:
    """JG6."""
    image = torch.rand(6, 3, 8, 8)
    kept = image.clone()
    drawn = draw_colour_guard(6, 0.0, 2, torch.Generator().manual_seed(1))
    found = colour_guard(image, drawn, 2)
    assert torch.equal(image, kept)
    for b in range(6):
        for c in range(3):
            down, across = drawn["shift"][b, c].tolist()
            inner = image[b, c, 2 + down : 6 + down, 2 + across : 6 + across]
            assert torch.equal(found[b, c, 2:6, 2:6], inner)
    grey = colour_guard(image, draw_colour_guard(6, 1.0, 0, torch.Generator()), 0)
    assert torch.equal(grey[:, 0], grey[:, 2])
    other = torch.rand(2, 1, 8, 8)
    assert colour_guard(other, drawn, 2) is other


def test_assembled_tiles_stand_row_by_row() -> None:
    tiles = torch.arange(4.0).view(1, 4, 1, 1, 1).expand(1, 4, 1, 3, 3) / 4
    found = assembled(tiles, 2)[0, 0]
    assert found.shape == (8, 8)
    assert found[[0, 0, 7, 7], [0, 7, 0, 7]].tolist() == [0, 0.25, 0.5, 0.75]
    assert found[0, 3:5].tolist() == [0.5, 0.5]
