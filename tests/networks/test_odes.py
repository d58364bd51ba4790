"""Solvers and densities against flows whose solution is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from genlab.networks import odes

MEAN, SPREAD = 0.3, 0.5


def gaussian(x: Tensor, t: Tensor) -> Tensor:
    """The velocity that takes N(0, 1) to N(0.3, 0.25) along the straight path, exactly."""
    t = t.view(-1, *[1] * (x.dim() - 1))
    wide = t**2 * SPREAD**2 + (1 - t) ** 2
    return MEAN + (t * SPREAD**2 - (1 - t)) / wide * (x - t * MEAN)


EXACT = -1.2057913526  # log N(1; 0.3, 0.25)


@pytest.mark.parametrize(
    ("solver", "steps", "above"),
    [
        ("euler", 8, 0.1757), ("euler", 32, 0.0552), ("euler", 128, 0.0146),
        ("midpoint", 8, 0.0033), ("heun", 8, 0.0138), ("rk4", 8, 2.1e-5),
    ],
)  # fmt: skip
@pytest.mark.parametrize("dims", [1, 3])
def test_densities_of_a_gaussian(solver: str, steps: int, above: float, dims: int) -> None:
    """Figures of flow_matching 1.0.10; each dimension adds the same error.

    Its rk4 is the 3/8 rule (-2.2e-5), ours the classic one.
    """
    one = torch.ones(2, dims, dtype=torch.float64)
    found, *_, evaluations = odes.log_density(gaussian, one, solver, steps)
    assert evaluations == steps * odes.EVALUATIONS[solver]
    precision = 0.02 * abs(above) + 1e-6 + 5e-5 * (abs(above) > 1e-3)
    assert float(found[0]) == pytest.approx(dims * (EXACT + above), abs=dims * precision)


@pytest.mark.parametrize(
    ("levels", "steps", "precision"),
    [(256, 20, 0.02), (256, 40, 1e-3), (17, 8, 0.02), (17, 20, 1e-3)],
)
def test_a_grid_bent_to_the_image_has_the_density_of_a_pixels_cell(
    levels: int, steps: int, precision: float
) -> None:
    """N(m, (2 / levels)^2 / 12), one pixel's cell; equal steps are 1.2 nats off at bytes."""
    mean, spread = -0.996, 2 / levels / math.sqrt(12)

    def narrow(x: Tensor, t: Tensor) -> Tensor:
        t = t[:, None]
        wide = t**2 * spread**2 + (1 - t) ** 2
        return mean + (t * spread**2 - (1 - t)) / wide * (x - t * mean)

    x = mean + spread * torch.linspace(-1.7, 1.7, 9, dtype=torch.float64)[:, None]
    exact = torch.distributions.Normal(mean, spread).log_prob(x)[:, 0]
    found, *_, evaluations = odes.log_density(narrow, x, "rk4", steps, bend=3.0)
    torch.testing.assert_close(found, exact, rtol=0, atol=precision)
    assert evaluations == 4 * steps


def test_eulers_densities_are_wrong_to_either_side() -> None:
    """Too low in the middle of a byte's cell, too high beside the middle of a wide density."""
    spread = 2 / 256 / math.sqrt(12)

    def narrow(x: Tensor, t: Tensor) -> Tensor:
        t = t[:, None]
        wide = t**2 * spread**2 + (1 - t) ** 2
        return MEAN + (t * spread**2 - (1 - t)) / wide * (x - t * MEAN)

    one = torch.ones(1, 1, dtype=torch.float64)
    low, *_ = odes.log_density(narrow, MEAN * one, "euler", 20)
    assert float(low) + math.log(spread * math.sqrt(2 * math.pi)) == pytest.approx(-2.60, abs=0.01)
    high, *_ = odes.log_density(gaussian, one, "euler", 32)
    assert float(high) - EXACT == pytest.approx(0.055, abs=0.002)


@pytest.mark.parametrize("span", [(0.0, 1.0), (1.0, 0.0)])
def test_a_bent_grid_begins_finely(span: tuple[float, float]) -> None:
    seen: list[float] = []

    def constant(x: Tensor, t: Tensor) -> Tensor:
        seen.append(abs(float(t[0]) - span[0]))
        return torch.full_like(x, 2.0)

    end, _ = odes.solve(constant, torch.zeros(1, 1).double(), "euler", 4, span, bend=3.0)
    assert seen == pytest.approx([0, 1 / 64, 8 / 64, 27 / 64])
    assert float(end) == pytest.approx(2 * (span[1] - span[0]))


def test_eulers_density_to_ten_digits() -> None:
    found, *_ = odes.log_density(gaussian, torch.ones(1, 1, dtype=torch.float64), "euler", 8)
    assert float(found) == pytest.approx(-1.0300800894, abs=1e-9)


@pytest.mark.parametrize("solver", odes.EVALUATIONS)
def test_the_error_falls_with_the_solvers_order(solver: str) -> None:
    order = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}[solver]
    start = torch.tensor([[1.0]], dtype=torch.float64)

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        return -(x**2) * (1 + t[:, None])

    exact = 1 / (1 / start + 1.5)
    few, many = (float((odes.solve(velocity, start, solver, n)[0] - exact).abs()) for n in (16, 32))
    assert math.log2(few / many) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("solver", odes.EVALUATIONS)
@pytest.mark.parametrize("steps", [1, 3, 7])
def test_a_constant_velocity_is_followed_exactly(solver: str, steps: int) -> None:
    seen: list[float] = []

    def constant(x: Tensor, t: Tensor) -> Tensor:
        seen.append(float(t[0]))
        return torch.full_like(x, 2.0)

    end, evaluations = odes.solve(constant, torch.zeros(2, 1, 2, 2).double(), solver, steps)
    torch.testing.assert_close(end, torch.full_like(end, 2.0))
    assert len(seen) == evaluations
    assert min(seen) == 0
    assert max(seen) <= 1
    back, _ = odes.solve(constant, end, solver, steps, (1.0, 0.0))
    torch.testing.assert_close(back, torch.zeros_like(back))


def test_a_fixed_grid_solves_every_row_by_itself() -> None:
    stiff = torch.tensor([[0.2], [50.0]], dtype=torch.float64)
    together, _ = odes.solve(gaussian, stiff, "midpoint", 10)
    alone, _ = odes.solve(gaussian, stiff[:1], "midpoint", 10)
    torch.testing.assert_close(together[:1], alone, rtol=0, atol=1e-14)


def test_the_exact_divergence_is_the_jacobians_trace() -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))
    net = net.double()
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    found = odes.divergence(net(x), x)
    for k in range(3):
        jacobian = torch.autograd.functional.jacobian(net, x[k])
        assert float(found[k]) == pytest.approx(float(jacobian.trace()), abs=1e-12)


def test_the_estimate_is_unbiased_and_as_wide_as_it_should_be() -> None:
    """J = sin(1 + 1.7 i + .9 j + .31 i j): trace and variance in closed form."""
    i, j = torch.meshgrid(torch.arange(3).double(), torch.arange(3).double(), indexing="ij")
    matrix = torch.sin(1 + 1.7 * i + 0.9 * j + 0.31 * i * j)
    x = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    signs = torch.tensor([[a, b, c] for a in (-1, 1) for b in (-1, 1) for c in (-1, 1)])
    each = torch.stack([odes.divergence(x @ matrix.T, x, e[None, None].double()) for e in signs])
    assert float(each.mean()) == pytest.approx(1.0620064524, abs=1e-9)
    assert float(each.var(correction=0)) == pytest.approx(3.8885634824, abs=1e-9)


def test_of_a_diagonal_jacobian_every_probe_is_exact() -> None:
    image = torch.full((2, 1, 2, 2), 0.7, dtype=torch.float64)
    exact, *_ = odes.log_density(gaussian, image, "rk4", 8)
    probes = torch.randint(2, (2, *image.shape)).double() * 2 - 1
    found, *_ = odes.log_density(gaussian, image, "rk4", 8, probes)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-12)


def test_the_density_integrates_to_one() -> None:
    """A velocity that mixes the two dimensions, on a grid over the plane."""
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.Tanh(), torch.nn.Linear(16, 2))
    net = net.double()

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        out: Tensor = net(torch.cat([x, t[:, None]], 1))
        return out

    line = torch.linspace(-8, 8, 81, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    log_p, *_ = odes.log_density(velocity, grid, "rk4", 10)
    assert float(log_p.exp().sum() * (line[1] - line[0]) ** 2) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("signs", [False, True])
def test_energies_of_linear_fields(signs: bool) -> None:
    """Of a rotation by w, w^2 |x|^2 and 2 w^2; of growth by a, its exact integral and 2 a^2."""
    w, a, x = 1.5, 0.7, torch.tensor([[0.6, -0.8], [2.0, 1.0]], dtype=torch.float64)
    turn = torch.tensor([[0.0, w], [-w, 0.0]], dtype=torch.float64)
    grow = a * torch.eye(2, dtype=torch.float64)
    both = torch.tensor([[1.0, -1.0], [1.0, 1.0]]).double()[:, None].expand(2, 2, 2)
    probes = both if signs else None
    for matrix, factor in ((turn, w**2), (grow, a / 2 * (1 - math.exp(-2 * a)))):

        def linear(x: Tensor, t: Tensor, matrix: Tensor = matrix) -> Tensor:
            return x @ matrix.T

        found = odes.log_density(linear, x, "rk4", 40, probes, energies=True)
        assert found.kinetic is not None
        assert found.jacobian is not None
        same = torch.testing.assert_close
        same(found.kinetic, factor * x.square().sum(1), rtol=0, atol=1e-6)
        same(found.jacobian, matrix.square().sum().expand(2), rtol=0, atol=1e-9)
        alone = odes.log_density(linear, x, "rk4", 40, probes)
        same(found.log_p, alone.log_p, rtol=0, atol=1e-12)
        assert alone.kinetic is None


def test_inner_times_of_a_jittered_grid_are_drawn_and_stay_in_order() -> None:
    seen: list[float] = []

    def remembered(x: Tensor, t: Tensor) -> Tensor:
        seen.append(float(t[0]))
        return torch.ones_like(x)

    start = torch.zeros(1, 1, dtype=torch.float64)
    for _ in range(50):
        seen.clear()
        end, _ = odes.solve(remembered, start, "euler", 5, (1.0, 0.0), jitter=0.8)
        assert float(end) == pytest.approx(-1, abs=1e-12)
        assert seen[0] == 1
        for k in range(1, 5):
            assert abs(seen[k] - (1 - k / 5)) <= 0.4 / 5 + 1e-6
        assert len({round(1 - k / 5 - seen[k], 9) for k in range(1, 5)}) == 4
    state = torch.get_rng_state()
    odes.solve(remembered, start, "euler", 5)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_adaptive_solver_meets_its_tolerance() -> None:
    pytest.importorskip("torchdiffeq")
    one = torch.ones(1, 1, dtype=torch.float64)
    found, *_, evaluations = odes.log_density(gaussian, one, "dopri5", tolerance=1e-5)
    assert float(found) == pytest.approx(EXACT, abs=5e-5)
    assert 10 < evaluations < 200


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="unknown solver 'euller'; choose from euler"):
        odes.check_solver("euller")
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        odes.check_solver("heun", 0)
    monkeypatch.setitem(__import__("sys").modules, "torchdiffeq", None)
    with pytest.raises(ValueError, match="dopri5 requires the package torchdiffeq"):
        odes.check_solver("dopri5")
