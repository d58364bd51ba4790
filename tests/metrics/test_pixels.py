"""Spectra and histograms of levels: golden values, Parseval, and images that differ in one way."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab.metrics import PixelStatistics, pixel_distances, radial_power
from tests.networks.flows.golden import first

RINGS = (
    0.025012144, 0.0744999142, 0.3917000829, 0.3278289195, 0.4487683939, 0.3235612761,
    0.4615039518, 0.5974087290, 0.5560523679,
)  # fmt: skip


def of(image: Tensor) -> PixelStatistics:
    made = PixelStatistics()
    made.add(image)
    return made


def test_rings_by_rounding() -> None:
    found = radial_power(first(16, 16)[None, None])
    torch.testing.assert_close(
        found[0], torch.tensor(RINGS, dtype=torch.float64), atol=1e-9, rtol=0
    )


def test_a_wave_has_one_ring_and_power_is_the_mean_square() -> None:
    row = torch.arange(16).double()
    wave = (2 * math.pi * 3 * row / 16).cos().expand(1, 1, 16, 16)
    power = radial_power(wave)[0]
    assert int(power.argmax()) == 3
    assert float(power.sum() - power[3]) < 1e-20
    members = sum(round(math.hypot(i, j)) == 3 for i in range(-8, 8) for j in range(-8, 8))
    assert float(power[3]) * members == pytest.approx(float(wave.square().sum()))


def test_the_same_images_are_at_no_distance_in_any_parts() -> None:
    image = torch.randint(256, (40, 3, 12, 10), dtype=torch.uint8)
    parts = PixelStatistics()
    for part in image.split(7):
        parts.add(part)
    assert parts.images == 40
    assert len(parts.spectrum()) == 5
    assert pixel_distances(parts, of(image)) == pytest.approx(
        {"pixels_wasserstein": 0, "pixels_js": 0, "spectrum_gap": 0}, abs=1e-12
    )


def test_brighter_images_differ_in_levels_and_blurred_ones_in_the_spectrum() -> None:
    image = torch.randint(100, (40, 1, 16, 16), dtype=torch.uint8)
    shifted = pixel_distances(of(image + 30), of(image))
    assert shifted["pixels_wasserstein"] == pytest.approx(30)
    assert shifted["spectrum_gap"] == pytest.approx(0, abs=1e-9)  # the mean is left out
    turned = image.flatten(1)[:, torch.randperm(256)].view_as(image)
    assert pixel_distances(of(turned), of(image))["pixels_js"] == 0
    blurred = torch.nn.functional.avg_pool2d(image.float(), 3, 1, 1).byte()
    assert pixel_distances(of(blurred), of(image))["spectrum_gap"] > 5


def test_images_of_one_pixel_have_no_spectrum() -> None:
    one = torch.zeros(4, 2, 1, 1, dtype=torch.uint8)
    assert set(pixel_distances(of(one), of(one))) == {"pixels_wasserstein", "pixels_js"}
