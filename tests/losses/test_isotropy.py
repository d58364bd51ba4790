"""SIGReg: values on paper, the global batch, half precision, the law of large numbers."""

from __future__ import annotations

import cmath
import math

import pytest
import torch
from torch import Tensor

from genlab import losses
from tests.conftest import TwoRanks
from tests.losses.golden_embeddings import x


def directions(rows: int, count: int) -> Tensor:
    u = x(7, rows, count)
    return u / u.norm(dim=0)


def slow(z: Tensor, u: Tensor, grid: str) -> float:
    """Point by point with complex numbers: the paper's integral, or half of it twice."""
    points = 17
    first, last = (-5.0, 5.0) if grid == "paper" else (0.0, 3.0)
    dt, total = (last - first) / (points - 1), 0.0
    for m in range(u.shape[1]):
        along = (z @ u[:, m]).tolist()
        for k in range(points):
            t = first + k * dt
            mean = sum(cmath.exp(1j * t * a) for a in along) / len(along)
            normal = math.exp(-(t**2) / 2)
            share = dt / 2 if k in (0, points - 1) else dt
            total += share * abs(mean - normal) ** 2 * normal * (1 if grid == "paper" else 2)
    return len(z) * total / u.shape[1]


@pytest.mark.parametrize(
    ("factor", "grid", "value", "norm"),
    [
        (1.0, "repository", 0.703970353042, 0.665681921902),
        (1.5, "repository", 0.492040333905, 0.444462068098),
        (1.0, "paper", 0.724087610095, 0.671468113959),
    ],
)
def test_values_of_the_reference(factor: float, grid: str, value: float, norm: float) -> None:
    """LJ1."""
    z, u = (factor * x(0, 16, 8)).requires_grad_(), directions(8, 4)
    loss = losses.sigreg(z, u, grid)
    loss.backward()
    assert z.grad is not None
    assert float(loss.detach()) == pytest.approx(value, abs=1e-9)
    assert slow(z.detach(), u, grid) == pytest.approx(value, abs=1e-9)
    assert float(z.grad.norm()) == pytest.approx(norm, abs=1e-9)


def test_values_of_a_collapse_and_of_normal_embeddings() -> None:
    u = directions(8, 4)
    for value, expected in ((0.0, 6.432761275707), (0.7, 6.756044902827)):
        z = torch.full((16, 8), value, dtype=torch.float64)
        assert float(losses.sigreg(z, u)) == pytest.approx(expected, abs=1e-9)
    zeros = torch.zeros(256, 8, dtype=torch.float64)
    assert float(losses.sigreg(zeros, u)) == pytest.approx(102.924, abs=1e-3)
    means = [float(losses.sigreg(torch.randn(n, 8).double(), directions(8, 256))) for n in
             (64, 4096)]  # fmt: skip
    assert means == pytest.approx([1.053, 1.053], abs=0.25)


def test_copies_of_a_batch_double_it() -> None:
    """LJ4."""
    z, u = x(0, 16, 8), directions(8, 4)
    twice = losses.sigreg(torch.cat([z, z]), u)
    torch.testing.assert_close(twice, 2 * losses.sigreg(z, u), rtol=0, atol=1e-12)


def test_two_ranks_are_one_process(two_ranks: TwoRanks) -> None:
    """LJ6; stable-pretraining drops the sums over ranks but counts the images of all."""
    one, _ = two_ranks.results("tests.losses.programs_redundancy:isotropic")
    assert float(one["loss"]) == pytest.approx(2.3142239610, abs=1e-9)
    assert float(one["grad"].norm()) == pytest.approx(3.6870048560, abs=1e-9)
    two_ranks.assert_same("tests.losses.programs_redundancy:isotropic", atol=1e-9)
    w, u = (1.1 * torch.eye(16).double()).requires_grad_(), directions(16, 4)
    dropped = torch.stack([2 * losses.sigreg(half, u) for half in (x(0, 16, 16) @ w).chunk(2)])
    dropped.mean().backward()
    assert w.grad is not None
    assert float(dropped.detach().mean()) == pytest.approx(2.7071, abs=1e-4)
    assert float(w.grad.norm()) == pytest.approx(3.8966, abs=1e-4)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full(kind: torch.dtype) -> None:
    """LJ7: a count of 301 in bfloat16 would be 300, lightly's."""
    z, u = x(0, 301, 8).to(kind), directions(8, 16).float()
    with torch.autocast("cpu", dtype=kind):
        found = losses.sigreg(z, u)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(float(losses.sigreg(z.double(), u)), rel=1e-4)
    assert float(found) == pytest.approx(float(losses.sigreg(x(0, 301, 8), u)), rel=1e-2)


def test_an_unknown_grid_is_named() -> None:
    with pytest.raises(ValueError, match="unknown grid 'fine'; choose from paper, repository"):
        losses.sigreg(x(0, 4, 2), directions(2, 1), "fine")
