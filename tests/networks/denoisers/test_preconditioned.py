"""EDM's factors against its numbers, and the probability flow that they make."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from genlab.networks import odes
from genlab.networks.denoisers.preconditioned import Preconditioned, preconditioning

BOUNDS = (0.002, 80.0)


class Still(nn.Module):
    """A network that says nothing: D is the exact denoiser of N(0, sigma_data^2)."""

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return torch.zeros_like(x)


class Wild(nn.Module):
    """A network whose output depends on all that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[Tensor] = []

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        self.times.append(t)
        shift = 0 if label is None else label.view(-1, 1)
        return (2 * x + t.view(-1, 1)).sin() + shift


def test_the_factors_are_edms() -> None:
    """Of edm 008a4e5 at s = .002, .5, 80; c_out^2 times the weight is always 1."""
    level = torch.tensor([0.002, 0.5, 80.0], dtype=torch.float64)
    skip, out, scale, noise = preconditioning(level, 0.5)
    rows = {
        "skip": (skip, [0.9999840003, 0.5, 0.000039061]),
        "out": (out, [0.0019999840, 0.3535533906, 0.4999902347]),
        "in": (scale, [1.9999840002, 1.4142135624, 0.0124997559]),
        "noise": (noise, [-1.5536520246, -0.1732867951, 1.0955066587]),
    }
    for name, (found, expected) in rows.items():
        assert found.tolist() == pytest.approx(expected, abs=1e-9), name
    weight = (level**2 + 0.25) / (0.5 * level) ** 2
    torch.testing.assert_close(weight * out**2, torch.ones(3).double())


@pytest.mark.parametrize("label", [None, torch.tensor([0, 1, 2, 1, 0])])
def test_the_velocity_is_the_denoisers(label: Tensor | None) -> None:
    """(D - x) / (1 - t) in the path's units, where x / t has the level (1 - t) / t."""
    torch.manual_seed(0)
    denoiser = Preconditioned(Wild(), 0.7, (1e-6, 1e6)).double()
    x = torch.randn(5, 3, dtype=torch.float64)
    t = torch.tensor([0.02, 0.3, 0.5, 0.8, 0.999], dtype=torch.float64)
    clean = denoiser(x / t[:, None], (1 - t) / t, label)
    expected = (clean - x) / (1 - t)[:, None]
    torch.testing.assert_close(denoiser.velocity(x, t, label), expected)


def test_it_is_finite_at_both_ends_and_sees_no_level_beyond_its_bounds() -> None:
    network = Wild()
    denoiser = Preconditioned(network, 0.5, BOUNDS).double()
    x = torch.randn(2, 3, dtype=torch.float64)
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    assert denoiser.velocity(x, ends).isfinite().all()
    low, high = (math.log(bound) / 4 for bound in BOUNDS)
    assert network.times[0].tolist() == pytest.approx([high, low])


def test_the_flow_of_the_exact_denoiser_has_the_datas_density() -> None:
    denoiser = Preconditioned(Still(), 0.5, BOUNDS)
    x = torch.tensor([[0.1, -0.6, 1.2]], dtype=torch.float64)
    normal = torch.distributions.Normal(0.0, torch.tensor(0.5).double())
    exact = float(normal.log_prob(x).sum())
    for steps, precision in ((20, 1e-4), (80, 1e-6)):
        found, *_ = odes.log_density(denoiser.velocity, x, "rk4", steps)
        assert float(found) == pytest.approx(exact, abs=precision)


def test_data_of_no_spread_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sigma_data 0.0 must be above 0"):
        Preconditioned(Still(), 0.0, BOUNDS)
