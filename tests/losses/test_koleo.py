"""Spread by nearest neighbours: values on paper, duplicates, opposite points, two ranks."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab import losses
from tests.conftest import TwoRanks
from tests.losses.golden_embeddings import x


def slow(z: Tensor) -> float:
    """Pair by pair."""
    u = z / z.norm(dim=1, keepdim=True)
    total = 0.0
    for i in range(len(u)):
        total -= math.log(min(float((u[i] - u[j]).norm()) for j in range(len(u)) if j != i))
    return total / len(u)


def test_value_and_gradient_of_the_reference() -> None:
    """IB3."""
    z = x(0, 8, 16).requires_grad_()
    loss = losses.koleo(z)
    (gradient,) = torch.autograd.grad(loss, z)
    assert float(loss.detach()) == pytest.approx(-0.272777951447, abs=1e-9)
    assert float(gradient.norm()) == pytest.approx(0.133367936304, abs=1e-9)
    assert slow(x(0, 8, 16)) == pytest.approx(-0.272777951447, abs=1e-7)  # without eps


def test_a_row_that_stands_twice_costs_what_the_reference_says() -> None:
    """IB3: in single precision, where the distance of 0 is 1e-8."""
    z = x(0, 8, 16).float()
    z[1] = z[0]
    assert float(losses.koleo(z)) == pytest.approx(3.998734951, abs=2e-6)


def test_an_opposite_pair_are_each_others_neighbours() -> None:
    """IB4: with -1 on the diagonal each picks itself: 8.42 for -log 2."""
    z = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    assert float(losses.koleo(z)) == pytest.approx(-math.log(2), abs=1e-6)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
def test_equal_embeddings_are_finite_with_a_finite_gradient(kind: torch.dtype) -> None:
    """IB3."""
    z = x(0, 4, 16).repeat(2, 1).to(kind).requires_grad_()
    loss = losses.koleo(z)
    loss.backward()
    assert z.grad is not None
    assert loss.isfinite()
    assert z.grad.isfinite().all()
    if kind == torch.float32:
        assert float(loss.detach()) == pytest.approx(losses.koleo_of_equal(16), rel=1e-4)


def test_two_ranks_equal_one(two_ranks: TwoRanks) -> None:
    one, _ = two_ranks.results("tests.losses.programs_self_distillation:spread")
    assert float(one["loss"]) == pytest.approx(0.0647393443, abs=1e-9)
    assert float(one["grad"].norm()) == pytest.approx(0.4041646112, abs=1e-9)
    two_ranks.assert_same("tests.losses.programs_self_distillation:spread", atol=1e-9)


def test_a_single_embedding_is_refused() -> None:
    """IB4."""
    with pytest.raises(ValueError, match="koleo requires at least two images"):
        losses.koleo(torch.ones(1, 4))
