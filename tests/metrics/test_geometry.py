"""Uniformity, alignment and effective rank against their definitions and their known ends."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from genlab.metrics import geometry


def test_uniformity_is_the_log_mean_potential_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(37, 5)
    expected = F.pdist(F.normalize(x)).square().mul(-2).exp().mean().log()
    assert geometry.uniformity(x) == pytest.approx(float(expected), abs=1e-5)
    monkeypatch.setattr(geometry, "BLOCK", 10)
    assert geometry.uniformity(3 * x) == pytest.approx(float(expected), abs=1e-5)


def test_uniformity_of_a_collapse_is_zero_and_of_noise_near_minus_four() -> None:
    assert geometry.uniformity(torch.ones(20, 4)) == pytest.approx(0, abs=1e-5)
    assert geometry.uniformity(torch.randn(2000, 512)) == pytest.approx(-4, abs=0.05)
    with pytest.raises(ValueError, match="two features"):
        geometry.uniformity(torch.ones(1, 4))


def test_alignment_is_the_squared_distance_of_pairs() -> None:
    x = torch.randn(50, 6)
    assert geometry.alignment(x, 2 * x) == pytest.approx(0, abs=1e-9)
    assert geometry.alignment(x, -x) == pytest.approx(4)
    y = torch.randn(50, 6)
    expected = (F.normalize(x) - F.normalize(y)).square().sum(1).mean()
    assert geometry.alignment(x, y) == pytest.approx(float(expected), abs=1e-5)


def test_class_alignment_is_the_squared_distance_within_classes() -> None:
    x, label = torch.randn(40, 6), torch.arange(40) % 3
    label[5] = -1
    parts = [F.pdist(F.normalize(x[label == k])).square().mean() for k in range(3)]
    expected = float(torch.stack(parts).mean())
    assert geometry.class_alignment(x, label) == pytest.approx(expected, abs=1e-5)
    assert math.isnan(geometry.class_alignment(x[:3], label[:3]))


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_effective_rank_of_equal_directions_is_their_number(rank: int) -> None:
    directions = torch.linalg.qr(torch.randn(6, 6)).Q[:rank]
    x = torch.cat([directions, -directions] * 5)
    assert geometry.effective_rank(x) == pytest.approx(rank, rel=1e-3)


def test_effective_rank_is_the_entropy_of_the_singular_values() -> None:
    for shape in ((30, 7), (7, 30)):
        x = torch.randn(shape)
        p = torch.linalg.svdvals(x) / torch.linalg.svdvals(x).sum()
        assert geometry.effective_rank(x) == pytest.approx(math.exp(-(p * p.log()).sum()), rel=1e-3)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 1e200])
def test_features_that_are_not_finite_have_no_effective_rank(wrong: float) -> None:
    x = torch.randn(30, 5, dtype=torch.float64)
    x[3, 2] = wrong
    assert math.isnan(geometry.effective_rank(x))


def test_uniformity_and_alignment_of_features_that_are_not_finite_are_nan() -> None:
    x = torch.randn(30, 5)
    x[3, 2] = math.nan
    assert math.isnan(geometry.uniformity(x))
    assert math.isnan(geometry.alignment(x, x))
    assert math.isnan(geometry.class_alignment(x, torch.arange(30) % 2))
