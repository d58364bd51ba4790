"""The contrastive loss of labelled images against a slow reference and published code."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import losses
from genlab.losses import supcon
from tests.conftest import TwoRanks
from tests.losses.golden_embeddings import x

Y = torch.tensor([0, 1, 0, 2, 1, 0, 2, 3])


def slow_supcon(views: list[Tensor], label: Tensor, tau: float, outside: bool = True) -> float:
    """Anchor by anchor: the log inside the mean over positives, L_out, or outside, L_in."""
    z, y = torch.cat(views), label.repeat(len(views)).tolist()
    total = 0.0
    for i in range(len(z)):
        s = [float(z[i] @ z[a]) / tau for a in range(len(z))]
        rest = sum(math.exp(s[a]) for a in range(len(z)) if a != i)
        shares = [math.exp(s[p]) / rest for p in range(len(z)) if p != i and y[p] == y[i]]
        if shares and outside:
            total -= sum(math.log(share) for share in shares) / len(shares)
        elif shares:
            total -= math.log(sum(shares))
    return total / len(z)


@pytest.mark.parametrize(
    ("tau", "value", "norm"),
    [
        (0.1, 2.999720177710, 3.605905144802),
        (0.5, 2.348970220821, 0.574666948879),
        (0.07, 4.146538756917, 5.622479329713),
    ],
)
def test_supcons_values_of_the_reference(tau: float, value: float, norm: float) -> None:
    """SC1: the gradient is by unit vectors that are not normalised again."""
    a, b = (F.normalize(x(s, 8, 16)).requires_grad_() for s in (0, 1))
    loss = supcon.on_the_sphere([a, b], Y, tau)
    loss.backward()
    assert a.grad is not None
    assert b.grad is not None
    assert float(loss.detach()) == pytest.approx(value, abs=1e-9)
    assert float(torch.cat([a.grad, b.grad]).norm()) == pytest.approx(norm, abs=1e-9)
    assert slow_supcon([a.detach(), b.detach()], Y, tau) == pytest.approx(value, abs=1e-9)
    whole = losses.supervised_contrastive([3 * a.detach(), b.detach()], Y, tau)
    assert float(whole) == pytest.approx(value, abs=1e-9)


def test_supcons_other_forms_are_other_losses() -> None:
    """SC2, SC3, SC4: the reference's factor; solo-learn's outer log; one view; no labels."""
    a, b = (F.normalize(x(s, 8, 16)) for s in (0, 1))
    ours = float(losses.supervised_contrastive([a, b], Y, 0.1))
    assert ours * 0.1 / 0.07 == pytest.approx(4.285314539585, abs=1e-9)
    inside = slow_supcon([a, b], Y, 0.1, outside=False)
    assert inside == pytest.approx(0.082618816071, abs=1e-9)
    alone = float(losses.supervised_contrastive([a], Y, 0.1))  # the last image is alone: counts 0
    assert alone * 0.1 / 0.07 == pytest.approx(1.671042779021, abs=1e-9)
    apart = losses.supervised_contrastive([a, b], torch.arange(8), 0.5)
    assert float(apart) == pytest.approx(1.771468096227, abs=1e-9)
    torch.testing.assert_close(apart, losses.nt_xent(a, b, 0.5))


def test_supcon_on_two_ranks_is_that_of_one_process(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.losses.programs_redundancy:supervised", atol=1e-9)


def test_supcon_is_computed_in_full() -> None:
    z = x(0, 64, 4).half()
    with torch.autocast("cpu", dtype=torch.float16):
        loss = losses.supervised_contrastive([z, z.flip(0)], torch.arange(64) % 3, 0.02)
    assert loss.dtype == torch.float32
    assert loss.isfinite()
