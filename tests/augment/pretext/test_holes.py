"""Holes: where, what weighs, and what is put into them."""

from __future__ import annotations

import torch

from genlab.augment.boxes import inside
from genlab.augment.pretext.holes import filled, hole_boxes, hole_weights, shrunk


def test_holes_are_in_the_middle_or_anywhere() -> None:
    generator = torch.Generator().manual_seed(0)
    assert hole_boxes((2, 3, 16, 16), 8, True, generator).tolist() == 2 * [[4, 4, 8, 8]]
    boxes = hole_boxes((400, 3, 16, 16), 8, False, generator)
    assert sorted(set(boxes[:, :2].flatten().tolist())) == list(range(9))


def test_the_ring_weighs_ten_and_outside_nothing() -> None:
    weights = hole_weights(torch.tensor([[1, 2, 5, 5]]), 1, 10.0, 8, 8)[0, 0]
    assert weights.unique().tolist() == [0, 1, 10]
    assert int((weights == 1).sum()) == 9
    assert int((weights == 10).sum()) == 16
    assert float(weights[1, 2]) == 10
    assert float(weights[0, 2]) == 0


def test_hidden_pixels_get_the_mean_of_visible_ones() -> None:
    """IP3."""
    image = torch.rand(3, 2, 8, 8)
    hidden = inside(shrunk(torch.tensor([[2, 2, 4, 4]]), 1).expand(3, 4), 8, 8)
    found = filled(image, hidden)
    here = hidden.expand_as(image)
    assert torch.equal(found[~here], image[~here])
    changed = image.masked_fill(here, 9.0)
    torch.testing.assert_close(filled(changed, hidden), found)
    torch.testing.assert_close(found[0, 1, 3, 3], image[0, 1][~hidden[0, 0]].mean())
