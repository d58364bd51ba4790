"""Estimated gradients of an expectation over codes, against exact enumeration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.losses import discrete_gradients as gradients

LOGITS = torch.tensor([0.3, -0.5, 1.0, 0.0], dtype=torch.float64)
WEIGHTS = torch.tensor([2.0, -1.0, 0.5, 3.0], dtype=torch.float64)
DRAWS = 40_000


def linear(x: Tensor) -> Tensor:
    return x @ WEIGHTS


def curved(x: Tensor) -> Tensor:
    return (x @ WEIGHTS - 1).square()


def test_enumeration_is_the_gradient_of_the_expectation() -> None:
    free = LOGITS.clone().requires_grad_()
    (free.softmax(0) @ curved(torch.eye(4, dtype=torch.float64))).backward()
    assert free.grad is not None
    torch.testing.assert_close(gradients.exact(curved, LOGITS), free.grad)


Case = tuple[Callable[..., Tensor], dict[str, Any]]


@pytest.mark.parametrize(
    "case", [(gradients.reinforce, {}), (gradients.reinforce, {"baseline": True})]
)
def test_reinforce_has_no_bias_and_its_variance_is_known(case: Case) -> None:
    torch.manual_seed(0)
    estimate, options = case
    found = estimate(curved, LOGITS, DRAWS, **options)
    true = gradients.exact(curved, LOGITS)
    bias, variance = gradients.bias_and_variance(found, true)
    p, f = LOGITS.softmax(0), curved(torch.eye(4, dtype=torch.float64))
    f = f - (p @ f) * bool(options)  # the mean of so many others is the expectation
    each = f[:, None] * (torch.eye(4, dtype=torch.float64) - p)  # estimate for each code
    expected = (p @ each.square().sum(1) - true.square().sum()) / true.square().sum()
    assert variance == pytest.approx(float(expected), rel=0.05)
    assert abs(bias) < 5 * variance / DRAWS


def test_a_baseline_lowers_the_variance_of_values_far_from_zero() -> None:
    torch.manual_seed(0)
    true = gradients.exact(linear, LOGITS)
    plain, based = (
        gradients.bias_and_variance(
            gradients.reinforce(lambda x: linear(x) + 10, LOGITS, DRAWS, baseline=b), true
        )[1]
        for b in (False, True)
    )
    assert based < plain / 10


def test_straight_through_is_exact_for_a_linear_value_and_biased_for_a_curved_one() -> None:
    torch.manual_seed(0)
    true = gradients.exact(linear, LOGITS)
    torch.testing.assert_close(gradients.straight_through(linear, LOGITS, 3), true.expand(3, -1))
    found = gradients.straight_through(curved, LOGITS, DRAWS)
    p, eye = LOGITS.softmax(0), torch.eye(4, dtype=torch.float64)
    slope = 2 * (eye @ WEIGHTS - 1)  # of the square, at each code
    mean = (p @ slope) * p * (WEIGHTS - p @ WEIGHTS)
    torch.testing.assert_close(found.mean(0), mean, atol=0.05, rtol=0.05)
    bias, _ = gradients.bias_and_variance(found, gradients.exact(curved, LOGITS))
    assert bias > 0.01


@pytest.mark.parametrize("hard", [False, True])
def test_a_lower_temperature_trades_bias_for_variance(hard: bool) -> None:
    torch.manual_seed(0)
    true = gradients.exact(curved, LOGITS)
    (warm_bias, warm), (cold_bias, cold) = (
        gradients.bias_and_variance(
            gradients.gumbel_softmax(curved, LOGITS, DRAWS, temperature, hard), true
        )
        for temperature in (1.0, 0.1)
    )
    assert cold_bias < warm_bias
    assert cold > 2 * warm


def test_a_baseline_requires_two_draws() -> None:
    with pytest.raises(ValueError, match="at least two draws"):
        gradients.reinforce(linear, LOGITS, 1, baseline=True)
