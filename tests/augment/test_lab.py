"""L*a*b* of sRGB: known colours, and the way back."""

from __future__ import annotations

import pytest
import torch

from genlab.augment.lab import lab_to_rgb, rgb_to_lab


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((30, 90, 200), (40.83, 22.91, -62.39)),
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
    ],
)
def test_known_colours(rgb: tuple[int, ...], lab: tuple[float, ...]) -> None:
    """CO1."""
    found = rgb_to_lab(torch.tensor(rgb, dtype=torch.float64).div(255).view(1, 3, 1, 1))
    assert found.flatten().tolist() == pytest.approx(lab, abs=0.011)


def test_the_way_back_is_the_image() -> None:
    image = torch.rand(2, 3, 9, 7, dtype=torch.float64)
    torch.testing.assert_close(lab_to_rgb(rgb_to_lab(image)), image, atol=1e-5, rtol=0)


def test_lightness_is_of_grey_alone_and_half_precision_is_raised() -> None:
    grey = torch.rand(2, 1, 4, 4).expand(-1, 3, -1, -1)
    assert float(rgb_to_lab(grey)[:, 1:].abs().max()) < 0.02
    with torch.autocast("cpu", torch.bfloat16):
        found = rgb_to_lab(torch.rand(1, 3, 4, 4).bfloat16())
    assert found.dtype == torch.float32


def test_colours_outside_are_cut() -> None:
    found = lab_to_rgb(torch.tensor([50.0, 120.0, -120.0]).view(1, 3, 1, 1))
    assert float(found.min()) == 0
    assert float(found.max()) <= 1
