"""Losses of Barlow Twins and VICReg: values on paper, the global batch, half precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab import losses
from tests.conftest import TwoRanks
from tests.losses.golden_embeddings import x


def slow(a: Tensor, b: Tensor, weight: float) -> float:
    """Entry by entry, after the paper's equations 1 and 2."""
    total = 0.0
    for i in range(a.shape[1]):
        for j in range(b.shape[1]):
            u, v = a[:, i] - a[:, i].mean(), b[:, j] - b[:, j].mean()
            spread = (u.square().mean() + 1e-5).sqrt() * (v.square().mean() + 1e-5).sqrt()
            c = float((u * v).mean() / spread)
            total += (1 - c) ** 2 if i == j else weight * c**2
    return total


@pytest.mark.parametrize(
    ("weight", "value", "norm"),
    [(0.0051, 7.756662715386, 7.567154023669), (0.005, 7.753563148572, 7.567370566479)],
)
def test_values_of_the_reference(weight: float, value: float, norm: float) -> None:
    """BT1."""
    a, b = x(0, 8, 16).requires_grad_(), x(1, 8, 16).requires_grad_()
    loss = losses.redundancy_reduction(a, b, weight)
    loss.backward()
    assert a.grad is not None
    assert b.grad is not None
    assert float(loss.detach()) == pytest.approx(value, abs=1e-9)
    assert float(torch.cat([a.grad, b.grad]).norm()) == pytest.approx(norm, abs=1e-9)
    assert slow(x(0, 8, 16), x(1, 8, 16), weight) == pytest.approx(value, abs=1e-9)


def test_equal_views_cost_nothing_and_constant_ones_their_width() -> None:
    assert float(losses.redundancy_reduction(x(0, 8, 16), x(0, 8, 16), 0.0)) < 1e-4
    constant = torch.ones(8, 16)
    assert float(losses.redundancy_reduction(constant, constant, 1.0)) == pytest.approx(16)


def test_two_ranks_are_one_process(two_ranks: TwoRanks) -> None:
    """BT3."""
    one, _ = two_ranks.results("tests.losses.programs_redundancy:correlated")
    assert float(one["loss"]) == pytest.approx(6.6798292077, abs=1e-9)
    assert float(one["grad"].norm()) == pytest.approx(32.2395916604, abs=1e-9)
    two_ranks.assert_same("tests.losses.programs_redundancy:correlated", atol=1e-9)


def test_a_plain_sum_over_ranks_halves_the_gradient_and_torch_only_warns(
    two_ranks: TwoRanks,
) -> None:
    """BT3, BT5: the reference's gradient on two ranks, each with the same rows."""
    one, both = two_ranks.results("tests.losses.programs_redundancy:plainly_reduced")
    torch.testing.assert_close(one["plain"], one["ours"], rtol=0, atol=1e-12)
    for found in both:
        torch.testing.assert_close(found["plain_loss"], found["ours_loss"])
        assert float(found["ours"].norm()) == pytest.approx(21.8035862, abs=1e-6)
        assert float(found["plain"].norm()) == pytest.approx(10.9017931, abs=1e-6)
        assert not found["ours_said"]
        assert any("autograd kernel" in text for text in found["plain_said"])


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full(kind: torch.dtype) -> None:
    z = 6 + x(0, 2048, 4)  # a plain fp16 product of so many rows overflows
    with torch.autocast("cpu", dtype=kind):
        loss = losses.redundancy_reduction(z.to(kind), z.to(kind), 0.0051)
    assert loss.dtype == torch.float32
    assert loss.isfinite()


def unbiased(a: Tensor, b: Tensor, weight: float) -> float:
    """Barlow Twins' loss with a standard deviation of N - 1, as stable-pretraining has it."""
    a, b = (z / (z.std(0) + 1e-5) for z in (a - a.mean(0), b - b.mean(0)))
    c = a.T @ b / len(a)
    off = c.square().sum() - c.diagonal().square().sum()
    return float((1 - c.diagonal()).square().sum() + weight * off)


def test_an_unbiased_deviation_cannot_reach_zero() -> None:
    """BT2: its diagonal ends at (N - 1) / N, and D / N^2 remains."""
    same = x(0, 8, 16)
    assert unbiased(same, same, 0.0) == pytest.approx(0.25016, abs=5e-6)
    value = float(losses.redundancy_reduction(same, same, 0.0))
    assert value == pytest.approx(7.4846e-6, rel=1e-4)


def test_statistics_of_a_process_are_another_loss() -> None:
    """BT4: lightly's two processes standardise a half each; correlations are averaged."""
    w = (1.1 * torch.eye(16, dtype=torch.float64)).requires_grad_()
    a, b = (x(s, 16, 16) @ w for s in (0, 1))
    halves = [losses.cross_correlation(a[k : k + 8], b[k : k + 8]) for k in (0, 8)]
    c = torch.stack(halves).mean(0)
    off = c.square().sum() - c.diagonal().square().sum()
    loss = (1 - c.diagonal()).square().sum() + 0.0051 * off
    loss.backward()
    assert w.grad is not None
    assert float(loss.detach()) == pytest.approx(4.7062, abs=1e-4)
    assert float(w.grad.norm()) == pytest.approx(15.33, abs=1e-2)


def slow_vicreg(a: Tensor, b: Tensor, weights: tuple[float, float, float], code: bool) -> float:
    """Entry by entry: the authors' code, or the paper's equations."""
    n, d = a.shape
    variance = covariance = 0.0
    for z in (a, b):
        for i in range(d):
            for j in range(d):
                u, v = z[:, i] - z[:, i].mean(), z[:, j] - z[:, j].mean()
                c = float((u * v).sum() / (n - 1))
                if i == j:
                    variance += max(0.0, 1 - (c + 1e-4) ** 0.5) / d
                else:
                    covariance += c**2 / d
    distance = sum(float((a[k] - b[k]).square().sum()) for k in range(n)) / n
    if code:
        variance, distance = variance / 2, distance / d
    return weights[0] * variance + weights[1] * distance + weights[2] * covariance


@pytest.mark.parametrize(
    ("weights", "value", "norm"),
    [
        ((25, 25, 1), 20.286635892603, 3.894847429608),
        ((0, 25, 0), 11.490496239143, None),
        ((25, 0, 0), 8.116045649319, None),
        ((0, 0, 1), 0.680094004141, None),
    ],
)
def test_vicregs_values_of_the_reference(
    weights: tuple[float, float, float], value: float, norm: float | None
) -> None:
    """VR1."""
    a, b = x(0, 8, 16).requires_grad_(), x(1, 8, 16).requires_grad_()
    terms = losses.variance_invariance_covariance(a, b)
    loss = torch.stack([w * term for w, term in zip(weights, terms, strict=True)]).sum()
    loss.backward()
    assert a.grad is not None
    assert b.grad is not None
    assert float(loss.detach()) == pytest.approx(value, abs=1e-9)
    assert slow_vicreg(a.detach(), b.detach(), weights, True) == pytest.approx(value, abs=1e-9)
    if norm is not None:
        assert float(torch.cat([a.grad, b.grad]).norm()) == pytest.approx(norm, abs=1e-9)


def test_vicregs_other_forms_are_other_losses() -> None:
    """VR2: the paper's equations; and solo-learn's variance, which is not halved."""
    a, b = x(0, 8, 16), x(1, 8, 16)
    assert slow_vicreg(a, b, (25, 25, 1), False) == pytest.approx(200.760125129074, abs=1e-9)
    assert slow_vicreg(a, b, (50, 25, 1), True) == pytest.approx(28.4027, abs=1e-4)


def test_vicreg_does_not_leave_equal_embeddings() -> None:
    z1, z2 = torch.ones(8, 4, requires_grad=True), torch.ones(8, 4, requires_grad=True)
    variance, invariance, covariance = losses.variance_invariance_covariance(z1, z2)
    (25 * variance + 25 * invariance + covariance).backward()
    assert 25 * float(variance.detach()) == pytest.approx(24.75)
    assert z1.grad is not None
    assert z1.grad.abs().max() == 0


def test_vicreg_on_two_ranks_is_that_of_one_process(two_ranks: TwoRanks) -> None:
    one, _ = two_ranks.results("tests.losses.programs_redundancy:varied")
    assert float(one["loss"]) == pytest.approx(20.7342773818, abs=1e-9)
    assert float(one["grad"].norm()) == pytest.approx(5.1503976575, abs=1e-9)
    two_ranks.assert_same("tests.losses.programs_redundancy:varied", atol=1e-9)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_vicreg_is_computed_in_full(kind: torch.dtype) -> None:
    z = (100 * x(0, 64, 4)).to(kind)
    with torch.autocast("cpu", dtype=kind):
        found = losses.variance_invariance_covariance(z, z.flip(0))
    expected = losses.variance_invariance_covariance(z.double(), z.flip(0).double())
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert float(one) == pytest.approx(float(other), rel=1e-4)
