"""Path length of generators whose value is known, and what rounding to bytes would make of it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.data import Digits
from genlab.evaluation import judge
from genlab.evaluation.path_length import path_length
from tests.evaluation.test_judging import Generator, data, nearest_mean
from tests.networks.flows.golden import first

__all__ = ["data", "nearest_mean"]  # fixtures


def normal(n: int) -> Tensor:
    return torch.randn(n, 4, dtype=torch.float64)


def test_lines_of_a_linear_generator() -> None:
    """E |A (z1 - z0)|^2 = 2 tr A A^T = 23.98; trimming takes some per cent off its tail."""
    a = first(4, 6)
    found = path_length(normal, lambda z: z @ a, pairs=20_000, spherical=False)
    assert 2 * float(a.square().sum()) == pytest.approx(23.9769638153, abs=1e-9)
    assert found == pytest.approx(23.98, rel=0.06)


def test_arcs_keep_the_length_of_latents() -> None:
    """On pairs of fixed length r and right angles, an arc moves by r pi / 2."""
    turn = torch.tensor([[0.0, 3.0, 0.0], [3.0, 0.0, 0.0]], dtype=torch.float64)
    calls = iter(range(100))

    def noise(n: int) -> Tensor:
        return turn[next(calls) % 2].expand(n, -1)

    found = path_length(noise, lambda z: z, pairs=400)
    assert found == pytest.approx((3 * math.pi / 2) ** 2, rel=1e-3)


def test_bytes_would_be_far_too_long_and_the_global_generator_stays() -> None:
    a = first(4, 6)
    state = torch.get_rng_state()
    exact = path_length(normal, lambda z: z @ a)
    assert torch.equal(torch.get_rng_state(), state)
    assert exact == path_length(normal, lambda z: z @ a)
    rounded = path_length(normal, lambda z: (z @ a * 32).round() / 32)
    assert rounded > 5 * exact


class Decodes(Generator):
    """Images whose brightness is the first latent."""

    def noise(self, n: int) -> Tensor:
        return torch.randn(n, 3)

    def decode(self, z: Tensor, label: Tensor) -> Tensor:
        assert len(z) == len(label)
        return torch.sigmoid(z[:, :1, None, None]).expand(-1, 1, 8, 8)


def test_a_generator_from_noise_is_measured_in_the_judges_features(
    data: Digits,
    nearest_mean: Any,
) -> None:
    found = judge(Decodes(data), nearest_mean, data, 100).figures
    assert 0.1 < found["judge/path_length_pixels"] < 64
    assert "judge/path_length_pixels" not in judge(Generator(data), nearest_mean, data, 100).figures
    with pytest.raises(ValueError, match="takes bytes only"):
        type(nearest_mean)("x", "a network", 1, 0, 3, None, nearest_mean.net).unrounded(
            torch.zeros(1, 1, 8, 8)
        )
