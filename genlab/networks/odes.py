"""Solutions of dx/dt = v(x, t), and the density that such a flow gives to its end.

Chen et al. 2018, arXiv:1806.07366 (density); Grathwohl et al. 2019, arXiv:1810.01367 (Hutchinson's
trace); Finlay et al. 2020, arXiv:2002.02798 (energies of a path). Fixed grids solve every row by
itself. The adaptive solver's error is that of the whole batch, so that a row's solution depends,
within the tolerance, on the other rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]  # (B, ...), (B,) -> (B, ...)
EVALUATIONS = {"euler": 1, "midpoint": 2, "heun": 2, "rk4": 4}  # of a step
SOLVERS = (*EVALUATIONS, "dopri5")


class Density(NamedTuple):
    """Log-density of points, and what the path that ends at them costs.

    Attributes:
        log_p: log-densities, (B,), in nats.
        kinetic: integrals of |v|^2 along the paths, (B,); None unless asked for.
        jacobian: integrals of |dv/dx|^2, the squared Frobenius norm, (B,); None as before.
        evaluations: number of evaluations of v.
    """

    log_p: Tensor
    kinetic: Tensor | None
    jacobian: Tensor | None
    evaluations: int


def solve(
    velocity: Velocity,
    x: Tensor,
    solver: str = "midpoint",
    steps: int = 25,
    span: tuple[float, float] = (0.0, 1.0),
    tolerance: float = 1e-5,
    bend: float = 1.0,
    jitter: float = 0.0,
) -> tuple[Tensor, int]:
    """Follow the velocity along a span of time; the end, and how often v was evaluated.

    Args:
        velocity: v, of states (B, ...) and times (B,).
        x: start, (B, ...), float32 or float64 whatever v is calculated in.
        solver: ``euler``, ``midpoint``, ``heun`` or the classic ``rk4`` on a fixed grid, or
            the adaptive ``dopri5`` of the package torchdiffeq.
        steps: number of steps of a fixed grid.
        span: first and last time; the second may be the smaller.
        tolerance: relative and absolute error of a step of ``dopri5``.
        bend: power b of a fixed grid, whose k-th time is (k / steps)^b of the way:
            1 for equal steps, above 1 finer near the first time.
        jitter: part of a step, 0 to 1, over which each inner time of a fixed grid is drawn anew.
            A velocity that is trained on one grid learns where this grid does not look.

    Raises:
        ValueError: an unknown solver, steps below 1, or ``dopri5`` without torchdiffeq.
    """
    check_solver(solver, steps)
    start, end = span
    if solver not in EVALUATIONS:
        return _adaptive(velocity, x, span, tolerance)

    def v(x: Tensor, t: float | Tensor) -> Tensor:
        time = t.expand(len(x)) if isinstance(t, Tensor) else x.new_full((len(x),), t)
        return velocity(x, time).to(x.dtype)

    places: list[float | Tensor] = [k / steps for k in range(steps + 1)]
    if jitter:
        moves = (torch.rand(steps - 1, device=x.device, dtype=x.dtype) - 0.5) * (jitter / steps)
        places[1:-1] = [place + move for place, move in zip(places[1:-1], moves, strict=True)]
    times = [start + (end - start) * place**bend for place in places]
    for now, then in pairwise(times):
        x = x + (then - now) * _slope(solver, v, x, now, then - now)
    return x, steps * EVALUATIONS[solver]


def check_solver(solver: str, steps: int = 1, names: tuple[str, str] = ("solver", "steps")) -> None:
    """Refuse an unknown solver, one that is not installed, and steps below 1.

    Args:
        solver: see `solve`.
        steps: see `solve`.
        names: arguments that the two came from, for the message.

    Raises:
        ValueError: one of these.
    """
    if solver not in SOLVERS:
        raise ValueError(f"unknown {names[0]} {solver!r}; choose from {', '.join(SOLVERS)}")
    if steps < 1:
        raise ValueError(f"{names[1]} must be at least 1, got {steps}")
    if solver not in EVALUATIONS:
        _torchdiffeq()


def log_density(
    velocity: Velocity,
    x: Tensor,
    solver: str = "rk4",
    steps: int = 25,
    probes: Tensor | None = None,
    tolerance: float = 1e-5,
    gradient: bool = False,
    bend: float = 1.0,
    jitter: float = 0.0,
    energies: bool = False,
) -> Density:
    """Log-density of the flow's end at time 1, from a standard normal at time 0.

    log p(x) = log N(x(0); 0, I) - the integral of div v along the path that ends at x. Too few
    steps make it wrong, to either side.

    Args:
        velocity: v, differentiable by its state.
        x: ends, (B, ...).
        solver: see `solve`.
        steps: see `solve`.
        probes: random signs (S, B, ...) for an unbiased estimate of the divergence and of the
            Jacobian's norm, the mean over S, the same in every step; None for the exact ones, of as
            many backward passes as there are dimensions.
        tolerance: see `solve`.
        gradient: True for a result with a gradient, back through every evaluation of v.
        bend: see `solve`; the first time is 1, where the flow contracts to narrow densities.
        jitter: see `solve`.
        energies: True to integrate the path's energies too.
    """
    shape = x.shape

    def both(state: Tensor, t: Tensor) -> Tensor:
        with torch.enable_grad():
            y = state[:, : shape[1:].numel()]  # (B, D)
            y = y if gradient and y.requires_grad else y.detach().requires_grad_()
            v = velocity(y.view(shape), t).flatten(1).to(y.dtype)
            signs = None if probes is None else probes.flatten(2)
            change = [v, *_changes(v, y, signs, gradient, energies)]
        return torch.cat(change if gradient else [one.detach() for one in change], 1)

    state = torch.cat([x.flatten(1), x.new_zeros(len(x), 3 if energies else 1)], 1)
    state, evaluations = solve(both, state, solver, steps, (1.0, 0.0), tolerance, bend, jitter)
    z, integrals = state.tensor_split([shape[1:].numel()], 1)
    normal = -0.5 * (z.square() + math.log(2 * math.pi)).sum(1)
    kinetic, jacobian = (-integrals[:, 1], -integrals[:, 2]) if energies else (None, None)
    return Density(normal + integrals[:, 0], kinetic, jacobian, evaluations)


def divergence(
    v: Tensor, x: Tensor, probes: Tensor | None = None, gradient: bool = False
) -> Tensor:
    """Sum of dv_d/dx_d: 2 x (B, D) -> (B,), exact or the mean over probes of e.J.e.

    Args:
        v: function of ``x``, row by row, (B, D).
        x: tensor with gradient, (B, D).
        probes: e, (S, B, D), of random signs.
        gradient: True for a sum with a gradient of its own.
    """
    return _changes(v, x, probes, gradient)[0].squeeze(1)


def _changes(
    v: Tensor, x: Tensor, probes: Tensor | None, gradient: bool, energies: bool = False
) -> list[Tensor]:
    """Divergence of v, and with its energies |v|^2 and the Jacobian's |J|^2: each (B, 1)."""
    weights = _units(v)[:, None].expand(-1, *v.shape) if probes is None else probes.to(x.dtype)
    pulled = torch.stack([_pulled(v, x, e, gradient) for e in weights])  # e.J: (S, B, D)
    found = [pulled * weights, pulled.square()] if energies else [pulled * weights]
    summed = [one.sum(2) for one in found]  # (S, B); over units a sum, over random signs a mean
    div, *norms = [one.sum(0) if probes is None else one.mean(0) for one in summed]
    return [one[:, None] for one in (div, *(v.square().sum(1) for _ in norms), *norms)]


def _units(v: Tensor) -> Tensor:
    return torch.eye(v.shape[1], dtype=v.dtype, device=v.device)


def _pulled(v: Tensor, x: Tensor, weights: Tensor, gradient: bool = False) -> Tensor:
    """Weights times the Jacobian: (B, D); zero where v does not depend on x."""
    if not v.requires_grad:
        return torch.zeros_like(x)
    (found,) = torch.autograd.grad(
        v, x, weights, retain_graph=True, create_graph=gradient, allow_unused=True,
        materialize_grads=True,
    )  # fmt: skip
    return found


def _slope(
    solver: str,
    v: Callable[[Tensor, float | Tensor], Tensor],
    x: Tensor,
    t: float | Tensor,
    size: float | Tensor,
) -> Tensor:
    """Mean velocity over a step from time t."""
    first = v(x, t)
    if solver == "euler":
        return first
    if solver == "heun":
        return (first + v(x + size * first, t + size)) / 2
    second = v(x + size / 2 * first, t + size / 2)
    if solver == "midpoint":
        return second
    third = v(x + size / 2 * second, t + size / 2)
    return (first + 2 * second + 2 * third + v(x + size * third, t + size)) / 6


def _adaptive(
    velocity: Velocity, x: Tensor, span: tuple[float, float], tolerance: float
) -> tuple[Tensor, int]:
    count = 0

    def v(t: Tensor, x: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return velocity(x, t.to(x.dtype).expand(len(x))).to(x.dtype)

    times = torch.tensor(span, dtype=x.dtype, device=x.device)
    path = _torchdiffeq()(v, x, times, rtol=tolerance, atol=tolerance, method="dopri5")
    return path[-1], count


def _torchdiffeq() -> Callable[..., Tensor]:
    try:
        from torchdiffeq import odeint
    except ImportError:
        message = "solver dopri5 requires the package torchdiffeq: pip install torchdiffeq"
        raise ValueError(message) from None
    found: Callable[..., Tensor] = odeint
    return found
