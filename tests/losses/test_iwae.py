"""The importance-weighted bound where the likelihood is known: z ~ N(0, 1), x|z ~ N(z, 1)."""

from __future__ import annotations

import math

import pytest
import torch

from genlab.losses import iwae_bound, normal_log_prob

EXACT = -1.5155121  # log N(1; 0, 2)


def log_weights(x: float, k: int, batch: int, mean: float, var: float) -> torch.Tensor:
    """Log p(x, z) - log q(z) with q = N(mean, var): (K, B) in float64."""
    zero = torch.zeros((), dtype=torch.float64)
    q_mean, q_logvar = zero + mean, zero + math.log(var)
    z = q_mean + math.sqrt(var) * torch.randn(k, batch, 1, dtype=torch.float64)
    joint = normal_log_prob(z, zero, zero) + normal_log_prob(zero + x, z, zero)
    return joint - normal_log_prob(z, q_mean, q_logvar)


@pytest.mark.parametrize("k", [1, 2, 50, 500])
def test_exact_posterior_gives_the_exact_likelihood_for_every_k(k: int) -> None:
    bound = iwae_bound(log_weights(1.0, k, 7, 0.5, 0.5))
    exact = -0.25 - 0.5 * math.log(4 * math.pi)
    assert exact == pytest.approx(EXACT, abs=1e-7)
    assert (bound - exact).abs().max() < 1e-9


def test_the_bound_rises_with_k_towards_the_likelihood() -> None:
    bounds = [float(iwae_bound(log_weights(1.0, k, 20_000, 0.0, 1.0)).mean()) for k in (1, 5, 50)]
    assert bounds == sorted(bounds)
    assert bounds[-1] < EXACT + 0.01
    assert bounds[-1] > EXACT - 0.02


def test_one_sample_is_the_elbo() -> None:
    log_w = torch.randn(1, 5)
    torch.testing.assert_close(iwae_bound(log_w), log_w[0])


def test_equal_weights_far_from_zero_do_not_overflow() -> None:
    assert iwae_bound(torch.full((500, 2), -1e4)).tolist() == pytest.approx([-1e4, -1e4])
