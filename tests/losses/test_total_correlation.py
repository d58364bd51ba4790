"""The KL term in parts: golden values of the exact q(z), and weights of its estimate."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab.losses import kl_parts, kl_standard_normal, normal_log_prob, stratified_log_weights
from tests.networks.flows.golden import first, second


def given() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """z, log q(z|x), means and log-variances of 8 posteriors of two latents."""
    mean = 1.5 * first(8, 2)
    logvar = math.log(0.09) + 0.3 * second(8, 2)
    z = mean + (0.5 * logvar).exp() * 0.7 * first(8, 2)
    return z, normal_log_prob(z, mean, logvar), mean, logvar


def means(log_weight: float) -> list[float]:
    weights = torch.full((8, 8), log_weight, dtype=torch.float64)
    return [part.mean().item() for part in kl_parts(*given(), weights)]


def test_the_parts_are_those_of_the_exact_aggregate() -> None:
    found = means(-math.log(8))
    assert found == pytest.approx([2.0450208, 0.3068620, 1.2891972], abs=1e-6)
    assert sum(found) == pytest.approx(3.6410799, abs=1e-6)


def test_weights_of_minibatch_weighting_shift_information_and_correlation() -> None:
    """1 / (N M) for every posterior: the sum stays right, so a test of the sum is none."""
    found = means(-math.log(8 * 8))
    assert found == pytest.approx([4.1245, 2.3863, -2.8697], abs=1e-4)


def test_weights_of_a_batch_that_is_the_whole_set_are_equal() -> None:
    found = stratified_log_weights(torch.arange(8), 8, 8)
    torch.testing.assert_close(found, torch.full((8, 8), -math.log(8)))


def test_every_row_of_weights_sums_to_one() -> None:
    """The reference code's last row sums to 1.3313 at these sizes."""
    weights = stratified_log_weights(torch.arange(4), 4, 1000).exp()
    torch.testing.assert_close(weights.sum(1), torch.ones(4))
    torch.testing.assert_close(weights.diagonal(), torch.full((4,), 1e-3))
    assert weights[1, 2].item() == pytest.approx(997 / 3000)
    assert weights[3, 0].item() == pytest.approx(997 / 3000)
    assert weights[0, 2].item() == pytest.approx(1 / 3)


def test_rows_of_one_process_are_those_of_the_global_batch() -> None:
    whole = stratified_log_weights(torch.arange(6), 6, 50)
    torch.testing.assert_close(stratified_log_weights(torch.tensor([1, 3, 5]), 6, 50), whole[1::2])


def test_the_estimate_of_log_q_is_near_the_exact_one() -> None:
    """Narrow posteriors, 64 of 1,000: minibatch weighting is off by log 64 = 4.16."""
    torch.manual_seed(0)
    mean, logvar = torch.randn(1000, 4), torch.full((1000, 4), 2 * math.log(0.3))
    z = mean + 0.3 * torch.randn(1000, 4)
    log_q = normal_log_prob(z, mean, logvar)
    equal = torch.full((1000, 1000), -math.log(1000))
    exact = (log_q - kl_parts(z, log_q, mean, logvar, equal)[0]).mean()
    estimates = []
    for rows in torch.randperm(1000)[:960].split(64):
        weights = stratified_log_weights(torch.arange(64), 64, 1000)
        batch = z[rows], log_q[rows], mean[rows], logvar[rows]
        estimates.append((log_q[rows] - kl_parts(*batch, weights)[0]).mean())
    assert torch.stack(estimates).mean().item() == pytest.approx(exact.item(), abs=1.0)


def test_the_sum_is_the_kl_term_on_average() -> None:
    torch.manual_seed(0)
    mean, logvar = torch.randn(400, 3), torch.randn(400, 3) - 1
    z = mean + (0.5 * logvar).exp() * torch.randn(400, 3)
    log_q = normal_log_prob(z, mean, logvar)
    weights = stratified_log_weights(torch.arange(400), 400, 5000)
    total = sum(part.mean() for part in kl_parts(z, log_q, mean, logvar, weights))
    exact = kl_standard_normal(mean, logvar).sum(1).mean()
    assert float(total) == pytest.approx(exact.item(), abs=0.3)
