"""Barlow Twins' loss: values on paper, the global batch, half precision."""

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
    one, _ = two_ranks.results("tests.losses.programs_redundancy:correlated")
    assert float(one["loss"]) == pytest.approx(6.6798292077, abs=1e-9)
    assert float(one["grad"].norm()) == pytest.approx(32.2395916604, abs=1e-9)
    two_ranks.assert_same("tests.losses.programs_redundancy:correlated", atol=1e-9)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full(kind: torch.dtype) -> None:
    z = 6 + x(0, 2048, 4)  # a plain fp16 product of so many rows overflows
    with torch.autocast("cpu", dtype=kind):
        loss = losses.redundancy_reduction(z.to(kind), z.to(kind), 0.0051)
    assert loss.dtype == torch.float32
    assert loss.isfinite()
