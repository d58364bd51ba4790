"""Tokens as colours and attention as brightness."""

from __future__ import annotations

import torch

from genlab.drawing.tokens import heat, peak, principal_colours


def test_like_tokens_have_like_colours_in_all_images() -> None:
    kinds = torch.randn(3, 8)
    kind = torch.tensor([[0, 1, 2, 0], [2, 2, 1, 0]])
    colours = principal_colours(kinds[kind], (2, 2)).flatten(2).transpose(1, 2)  # (B, 4, 3)
    for a in range(3):
        of_a = colours[kind == a]
        torch.testing.assert_close(of_a, of_a[:1].expand_as(of_a))
    assert (colours[0, 0] - colours[0, 1]).abs().max() > 0.3
    assert 0 <= float(colours.min()) <= float(colours.max()) <= 1


def test_the_sign_of_a_component_is_fixed() -> None:
    tokens = torch.randn(2, 9, 5)
    scale = torch.diag(torch.tensor([5.0, 3.0, 2.0, 0.1, 0.1]))
    found = principal_colours(tokens @ scale, (3, 3))
    assert float((found[:, 0].flatten() * (tokens @ scale)[..., 0].flatten()).sum()) > 0


def test_fewer_dimensions_than_colours_leave_grey() -> None:
    found = principal_colours(torch.randn(1, 4, 2), (2, 2))
    assert (found[:, 2] == 0.5).all()


def test_all_maps_have_one_scale() -> None:
    """Nearly even attention shows no pattern; a sharp map beside it changes nothing."""
    even, sharp = torch.full((4, 4), 1 / 16), torch.zeros(4, 4)
    even[0, 0] *= 1.01
    sharp[0, 0], sharp[1, 1] = 0.9, 0.1
    found = heat(torch.stack([even, sharp]))
    assert float(found[0].max() - found[0].min()) < 0.01
    torch.testing.assert_close(found[0].mean(), torch.tensor(0.25))
    assert found[1, 0, 0] == 1
    torch.testing.assert_close(found[1, 1, 1], torch.tensor(0.4))  # 1.6 times the mean
    torch.testing.assert_close(found[0], heat(even))
    assert not heat(torch.zeros(1, 1, 2, 2)).any()


def test_the_peak_is_the_largest_over_the_mean() -> None:
    assert peak(torch.full((3, 2, 2), 0.25)) == 1
    assert peak(torch.tensor([[[1.0, 0], [0, 0]], [[0.5, 0.5], [0, 0]]])) == 3  # of 4 and 2
