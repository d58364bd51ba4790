"""Monotone rational-quadratic splines: a flexible map of the line onto itself, with its inverse.

Durkan, Bekasov, Murray, Papamakarios 2019, arXiv:1906.04032; reference code bayesiains/nsf.
Departures: logits are softly bounded, which bounds every slope: with free ones the inverse loses
whole units in float32; all-zero parameters are the identity; slopes at inner knots are
exponentials, and outside the box the map is the identity with slope 1 at the corners (as there).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LIMIT = 3.0  # of logits: widths, heights and slopes differ by factors of e^6 at most


class Knots(NamedTuple):
    """The bin that each value falls into: lower left corner, width, height, slopes at both ends."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    slope: Tensor
    slope_end: Tensor


def parameters_per_value(bins: int) -> int:
    """Numbers that describe one spline: widths, heights and inner slopes."""
    return 3 * bins - 1


def spline(x: Tensor, raw: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Map values by splines of their own.

    Args:
        x: (...,).
        raw: unconstrained parameters, (..., 3K - 1) for K bins; zeros are the identity.
        bound: the box is [-bound, bound]; outside it nothing changes.

    Returns:
        The mapped values and the logarithm of the slope there, 2 x (...,).
    """
    inside = x.abs() < bound
    x_in = x.clamp(-bound, bound)
    k = _bin(x_in, raw, bound, inverse=False)
    delta, t = k.height / k.width, ((x_in - k.x) / k.width).clamp(0, 1)
    mixed = t * (1 - t)
    below = delta + (k.slope + k.slope_end - 2 * delta) * mixed
    y = k.y + k.height * (delta * t.square() + k.slope * mixed) / below
    log_slope = _log_slope(k, delta, t, mixed, below)
    return torch.where(inside, y, x), torch.where(inside, log_slope, 0.0)


def inverse_spline(y: Tensor, raw: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Undo `spline`: values (...,), the same ``raw`` -> values and log-slopes of the inverse."""
    inside = y.abs() < bound
    y_in = y.clamp(-bound, bound)
    k = _bin(y_in, raw, bound, inverse=True)
    delta, rise = k.height / k.width, y_in - k.y
    bend = k.slope + k.slope_end - 2 * delta
    a = k.height * (delta - k.slope) + rise * bend
    b = k.height * k.slope - rise * bend
    c = -delta * rise
    root = (b.square() - 4 * a * c).clamp(min=0).sqrt()
    t = (2 * c / (-b - root)).clamp(0, 1)  # the form that loses no digits
    mixed = t * (1 - t)
    log_slope = _log_slope(k, delta, t, mixed, delta + bend * mixed)
    x = k.x + t * k.width
    return torch.where(inside, x, y), torch.where(inside, -log_slope, 0.0)


def _log_slope(k: Knots, delta: Tensor, t: Tensor, mixed: Tensor, below: Tensor) -> Tensor:
    above = k.slope_end * t.square() + 2 * delta * mixed + k.slope * (1 - t).square()
    return 2 * delta.log() + above.log() - 2 * below.log()


def _bin(value: Tensor, raw: Tensor, bound: float, inverse: bool) -> Knots:
    """The bin of each value, found among the knots of y for the inverse, else of x."""
    bins = (raw.shape[-1] + 1) // 3
    raw = LIMIT * torch.tanh(raw / LIMIT)
    widths, heights = (
        2 * bound * F.softmax(part, -1) for part in (raw[..., :bins], raw[..., bins : 2 * bins])
    )
    slopes = F.pad(raw[..., 2 * bins :], (1, 1)).exp()  # 1 at both corners
    x, y = (F.pad(part.cumsum(-1)[..., :-1], (1, 0)) - bound for part in (widths, heights))
    at = (value[..., None] >= (y if inverse else x)[..., 1:]).sum(-1, keepdim=True)
    parts = (x, y, widths, heights, slopes[..., :-1], slopes[..., 1:])
    return Knots(*(part.gather(-1, at).squeeze(-1) for part in parts))
