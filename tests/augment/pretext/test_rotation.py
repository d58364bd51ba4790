"""Quarter turns: exact, and in the direction that the label says."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import rotate

from genlab.augment.pretext.rotation import quarter_turns, turn


def test_four_quarters_are_the_image_bit_for_bit() -> None:
    """RO1."""
    image = torch.rand(3, 2, 28, 28)
    again = image
    for _ in range(4):
        again = turn(again, torch.ones(3, dtype=torch.long))
    assert torch.equal(again, image)


def test_pixels_are_kept_where_interpolation_changes_them() -> None:
    """RO1."""
    image = torch.rand(3, 1, 28, 28)
    for turned in quarter_turns(image).chunk(4):
        assert torch.equal(turned.flatten(1).sort(1)[0], image.flatten(1).sort(1)[0])
    smooth = rotate(image, 90, InterpolationMode.BILINEAR)
    apart = (smooth - quarter_turns(image).chunk(4)[1]).abs().max()
    assert 0 < float(apart) < 1e-4


def test_a_quarter_is_counter_clockwise() -> None:
    """RO2."""
    image = torch.arange(4.0).view(1, 1, 2, 2)
    by_90 = quarter_turns(image)[1]
    assert torch.equal(by_90, image[0].transpose(1, 2).flip(1))
    assert by_90.flatten().tolist() == [1, 3, 0, 2]


def test_each_image_turns_by_its_own_number() -> None:
    image = torch.rand(4, 1, 8, 8)
    found = turn(image, torch.tensor([3, -1, 0, 5]))
    expected = [torch.rot90(one, k, (1, 2)) for one, k in zip(image, (3, 3, 0, 1), strict=True)]
    assert torch.equal(found, torch.stack(expected))


def test_what_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match=r"square images, not \(8, 6\)"):
        quarter_turns(torch.zeros(1, 1, 8, 6))
