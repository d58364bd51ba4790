"""Likelihoods of pixels: normalisation, constants, goldens and stability."""

from __future__ import annotations

import math

import pytest
import torch

from genlab.losses import (
    LIKELIHOODS,
    bernoulli_nll,
    bits_per_dim,
    discretized_logistic_nll,
    gaussian_nll,
    maps_per_channel,
    pixel_mean,
    pixel_nll,
)


def pixel(value: float | list[float] | torch.Tensor) -> torch.Tensor:
    """One-pixel images, (N, 1, 1, 1) in float64."""
    return torch.as_tensor(value, dtype=torch.float64).reshape(-1, 1, 1, 1)


GREY = torch.arange(256, dtype=torch.float64) / 255


@pytest.mark.parametrize("mean", [-3.0, -1.0, 0.1, 1.0, 2.5])
@pytest.mark.parametrize("log_scale", [-7.0, -2.0, 0.0, 3.0])
def test_the_256_cells_sum_to_one(mean: float, log_scale: float) -> None:
    mass = torch.exp(-discretized_logistic_nll(pixel(mean), pixel(GREY), log_scale))
    assert mass.sum().item() == pytest.approx(1.0, abs=1e-12)


def test_discretized_logistic_goldens() -> None:
    nll = discretized_logistic_nll(pixel(0.1), pixel(GREY[[0, 128, 255]]), -2.0)
    assert nll.tolist() == pytest.approx([8.0992888195, 4.3578957352, 6.6225047790], abs=1e-9)


@pytest.mark.parametrize("log_scale", [-7.0, -3.0])
def test_far_tails_stay_finite_with_a_gradient_in_float32(log_scale: float) -> None:
    mean = torch.full((256, 1, 1, 1), 1.0, requires_grad=True)
    nll = discretized_logistic_nll(mean, GREY.float().view(-1, 1, 1, 1), log_scale)
    (gradient,) = torch.autograd.grad(nll.sum(), mean)
    assert nll.isfinite().all()
    assert gradient.isfinite().all()
    assert nll[0] > 0.9 * 2 / math.exp(log_scale)  # a logistic's tail is exponential, never flat


def test_gaussian_keeps_its_constant() -> None:
    nll = gaussian_nll(torch.zeros(1, 1, 28, 28), torch.zeros(1, 1, 28, 28))
    assert nll.item() == pytest.approx(392 * math.log(2 * math.pi), rel=1e-6)  # 720.4


def test_gaussian_agrees_with_torch() -> None:
    mean, x, log_scale = torch.randn(3, 4, 2, 3, 3, dtype=torch.float64)
    expected = -torch.distributions.Normal(mean, log_scale.exp()).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(gaussian_nll(mean, x, log_scale), expected)


def test_bernoulli_is_a_distribution() -> None:
    logits, both = pixel([1.7, 1.7]), pixel([0.0, 1.0])
    assert torch.exp(-bernoulli_nll(logits, both)).sum().item() == pytest.approx(1, abs=1e-12)


def test_bernoulli_survives_any_logit() -> None:
    logits = torch.tensor([-1e4, 1e4]).view(2, 1, 1, 1)
    assert bernoulli_nll(logits, torch.ones(2, 1, 1, 1)).tolist() == [1e4, 0.0]


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_many_samples_for_each_image_equal_one_at_a_time(likelihood: str) -> None:
    """(K, B, ...) maps against (B, ...) pixels, the form of the IWAE bound."""
    width = 2 * maps_per_channel(likelihood, "pixel")
    maps = torch.randn(5, 3, width, 4, 4)
    x = torch.randint(0, 256, (3, 2, 4, 4)) / 255
    together = pixel_nll(likelihood, maps, x)
    alone = torch.stack([pixel_nll(likelihood, one, x) for one in maps])
    assert together.shape == (5, 3)
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(
        pixel_mean(likelihood, maps, 2)[1], pixel_mean(likelihood, maps[1], 2)
    )


@pytest.mark.parametrize("level", [0, 7, 128, 255])
def test_gaussian_bits_of_constant_pixels_cannot_run_away(level: int) -> None:
    """However narrow the learned scale wants to be, masses over the 256 levels sum to at most 1."""
    maps = torch.tensor([level / 255, -100.0], dtype=torch.float64).view(1, 2, 1, 1)
    nll = pixel_nll("gaussian", maps.expand(256, -1, -1, -1), pixel(GREY))
    bits = bits_per_dim("gaussian", nll, 1)
    assert bits is not None
    assert (2.0**-bits).sum().item() <= 1
    assert bits.min() > 0


def test_a_uniform_model_costs_eight_bits() -> None:
    """A very wide logistic is uniform inside; a uniform density over [0, 1] has 0 nats."""
    assert bits_per_dim("gaussian", torch.zeros(()), 784) == 8.0
    assert bits_per_dim("discretized_logistic", torch.tensor(784 * math.log(256)), 784) == (
        pytest.approx(8.0)
    )
    assert bits_per_dim("bernoulli", torch.zeros(()), 784) is None


@pytest.mark.parametrize(
    ("likelihood", "scale", "said"),
    [
        ("poisson", 1.0, "choose from bernoulli"),
        ("gaussian", "wide", "neither a number nor"),
        ("gaussian", -1.0, "must be > 0"),
        ("gaussian", 0.001, "at least 1/256"),
    ],
)
def test_wrong_choices_are_refused(likelihood: str, scale: float | str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        maps_per_channel(likelihood, scale)
