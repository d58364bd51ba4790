"""Vendi score and FID at infinity: golden values, and what they must not reward or hide."""

from __future__ import annotations

import math

import pytest
import torch

from genlab.metrics import frechet_infinity, vendi_score
from tests.networks.flows.golden import first


def test_values_of_three_orders() -> None:
    x = first(6, 4)
    assert vendi_score(x) == pytest.approx(3.4432813174, abs=1e-10)
    assert vendi_score(x, order=2) == pytest.approx(3.1037520412, abs=1e-10)
    assert vendi_score(x, order=math.inf) == pytest.approx(2.3813731818, abs=1e-9)
    assert vendi_score(x.T) == pytest.approx(vendi_score(torch.cat([x.T, x.T])), abs=1e-10)


def test_equal_rows_count_once_and_orthogonal_ones_each() -> None:
    assert vendi_score(torch.ones(6, 4)) == pytest.approx(1)
    assert vendi_score(3 * torch.eye(5)) == pytest.approx(5)
    assert vendi_score(first(6, 4).repeat(2, 1)) == pytest.approx(vendi_score(first(6, 4)))


def test_features_far_from_the_origin_need_a_centre() -> None:
    """N(0, I) + 3 in 64 dimensions: 2 whatever the samples are, 62 from its mean."""
    x = torch.randn(1000, 64, generator=torch.Generator().manual_seed(0)) + 3
    assert vendi_score(x) == pytest.approx(2.0, abs=0.1)
    assert vendi_score(x, x.double().mean(0)) == pytest.approx(62, abs=1)


def test_fid_at_infinity_loses_the_bias_of_the_samples_alone() -> None:
    """Equal normals in 16 dimensions: FID_N = 84 / N + 84 / M to first order."""
    found = []
    for seed in range(6):
        generator = torch.Generator().manual_seed(seed)
        real = torch.randn(4000, 16, generator=generator)
        fake = torch.randn(5000, 16, generator=generator)
        found.append((frechet_infinity(fake, real), frechet_infinity(fake + 0.125, real)))
    slope = sum(equal.slope for equal, _ in found) / 6
    assert slope == pytest.approx(84, rel=0.15)
    assert sum(equal.intercept for equal, _ in found) / 6 == pytest.approx(84 / 4000, abs=0.01)
    assert sum(far.intercept for _, far in found) / 6 == pytest.approx(0.25 + 0.021, abs=0.02)
    assert frechet_infinity(fake, real) == frechet_infinity(fake, real)


def test_too_few_samples_for_a_line_are_refused() -> None:
    with pytest.raises(ValueError, match="requires 160 samples in 16 dimensions, got 159"):
        frechet_infinity(torch.randn(159, 16), torch.randn(500, 16))
