"""Divergences between normals: goldens, definitions and free bits."""

from __future__ import annotations

import pytest
import torch

from genlab.losses import free_bits, kl_normal, kl_standard_normal, normal_log_prob
from tests.conftest import TwoRanks


def golden() -> tuple[torch.Tensor, torch.Tensor]:
    i = torch.arange(6, dtype=torch.float64)
    mean, logvar = torch.sin(0.6 * (i + 1)), 0.5 * torch.sin(0.9 * (i + 1))
    return mean.view(2, 3), logvar.view(2, 3)


def test_golden_values() -> None:
    kl = kl_standard_normal(*golden()).sum(1)
    assert kl.tolist() == pytest.approx([1.1943005020, 0.4313997359], abs=1e-9)


def test_the_general_form_agrees_with_torch_and_with_the_special_one() -> None:
    mean, logvar = golden()
    mean2, logvar2 = torch.randn(2, 2, 3, dtype=torch.float64)
    p = torch.distributions.Normal(mean, (logvar / 2).exp())
    q = torch.distributions.Normal(mean2, (logvar2 / 2).exp())
    expected = torch.distributions.kl_divergence(p, q)
    torch.testing.assert_close(kl_normal(mean, logvar, mean2, logvar2), expected)
    zero = torch.zeros_like(mean)
    torch.testing.assert_close(kl_normal(mean, logvar, zero), kl_standard_normal(mean, logvar))


def test_class_mean_form() -> None:
    """-.5 sum(1 + lv - (mu - m)^2 - e^lv), the KL to N(m, 1)."""
    mean, logvar = golden()
    m = torch.randn(2, 3, dtype=torch.float64)
    by_hand = -0.5 * (1 + logvar - (mean - m).square() - logvar.exp())
    torch.testing.assert_close(kl_normal(mean, logvar, m), by_hand)


def test_the_prior_costs_nothing_in_any_dimension() -> None:
    for dims in (3, 6):
        assert kl_standard_normal(torch.zeros(2, dims), torch.zeros(2, dims)).sum() == 0


def test_log_prob_agrees_with_torch() -> None:
    z, mean, logvar = torch.randn(3, 4, 5, dtype=torch.float64)
    normal = torch.distributions.Normal(mean, (logvar / 2).exp())
    torch.testing.assert_close(normal_log_prob(z, mean, logvar), normal.log_prob(z).sum(-1))


def test_half_precision_is_computed_in_float32() -> None:
    mean, logvar = torch.full((1, 1), 300.0).half(), torch.zeros(1, 1).half()
    assert kl_standard_normal(mean, logvar).item() == pytest.approx(45000)  # 300^2 overflows half


def test_free_bits_spare_only_latents_below_the_minimum() -> None:
    kl = torch.tensor([[0.1, 2.0], [0.3, 4.0]], requires_grad=True)  # batch means 0.2 and 3
    paid = free_bits(kl, 0.5)
    assert paid.item() == pytest.approx(0.5 + 3.0)
    (gradient,) = torch.autograd.grad(paid, kl)
    assert gradient.tolist() == [[0.0, 0.5], [0.0, 0.5]]


@pytest.mark.ddp
def test_free_bits_on_two_ranks_equal_one_process(two_ranks: TwoRanks) -> None:
    """A latent above the minimum on one rank and below on the other counts by the global mean."""
    two_ranks.assert_same("tests.losses.programs:free_bits_gradient")
