"""Monotone rational-quadratic splines: a flexible map of the line onto itself, with its inverse.

Durkan, Bekasov, Murray, Papamakarios 2019, arXiv:1906.04032; reference code bayesiains/nsf.
Departures, so that the inverse keeps its digits in float32: logits are softly bounded; the slope at
a knot is the harmonic mean of those of its two bins times a bounded factor (Fritsch and Carlson
1980), not a number of its own, so no bin is flat inside. All-zero parameters are the identity;
beyond the box the map goes on straight with the corner's slope, where theirs is the identity.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LOGIT, FACTOR = 2.0, 1.0  # bounds of logits of widths and heights, and of logs of slope factors


class Bin(NamedTuple):
    """Bin of a value: lower left corner, width, height, slopes at both ends, each (...,)."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    slope: Tensor
    slope_end: Tensor


def parameters_per_value(bins: int) -> int:
    """Numbers that describe one spline: widths, heights and slopes at the knots."""
    return 3 * bins + 1


def spline(x: Tensor, raw: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Map each value by its own spline.

    Args:
        x: (...,).
        raw: unconstrained parameters, (..., 3K + 1) for K bins; zeros are the identity.
        bound: the box is [-bound, bound].

    Returns:
        The mapped values and the logarithm of the slope there, 2 x (...,).
    """
    inside = x.clamp(-bound, bound)
    k = _bin(inside, raw, bound, inverse=False)
    delta, t = k.height / k.width, ((inside - k.x) / k.width).clamp(0, 1)
    mixed = t * (1 - t)
    below = delta + (k.slope + k.slope_end - 2 * delta) * mixed
    y = k.y + k.height * (delta * t.square() + k.slope * mixed) / below
    log_slope = _log_slope(k, delta, t, mixed, below)
    return y + (x - inside) * log_slope.exp(), log_slope


def inverse_spline(y: Tensor, raw: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Undo `spline`: values (...,), the same ``raw`` -> values and log-slopes of the inverse."""
    inside = y.clamp(-bound, bound)
    k = _bin(inside, raw, bound, inverse=True)
    delta, rise = k.height / k.width, inside - k.y
    bend = k.slope + k.slope_end - 2 * delta
    a = k.height * (delta - k.slope) + rise * bend
    b = k.height * k.slope - rise * bend
    c = -delta * rise
    root = (b.square() - 4 * a * c).clamp(min=0).sqrt()
    t = (2 * c / (-b - root)).clamp(0, 1)  # the form of the root that loses no digits
    mixed = t * (1 - t)
    log_slope = -_log_slope(k, delta, t, mixed, delta + bend * mixed)
    return k.x + t * k.width + (y - inside) * log_slope.exp(), log_slope


def _log_slope(k: Bin, delta: Tensor, t: Tensor, mixed: Tensor, below: Tensor) -> Tensor:
    above = k.slope_end * t.square() + 2 * delta * mixed + k.slope * (1 - t).square()
    return 2 * delta.log() + above.log() - 2 * below.log()


def _bin(value: Tensor, raw: Tensor, bound: float, inverse: bool) -> Bin:
    """The bin of each value, found among the knots of y for the inverse, else of x."""
    bins = (raw.shape[-1] - 1) // 3
    logits = LOGIT * torch.tanh(raw[..., : 2 * bins] / LOGIT)
    sides = 2 * bound * F.softmax(logits.unflatten(-1, (2, bins)), -1)
    inner = sides.cumsum(-1)[..., :-1] - bound
    knots = F.pad(F.pad(inner, (1, 0), value=-bound), (0, 1), value=bound)  # (..., 2, K + 1)
    (x, y), (width, height) = knots[..., :-1].unbind(-2), knots.diff(dim=-1).unbind(-2)
    at = (value[..., None] >= inner[..., int(inverse), :]).sum(-1, keepdim=True)
    flat = F.pad(width / height, (1, 1), value=1.0)  # 1 / slope of the bins, and beyond the box
    factor = torch.exp(FACTOR * torch.tanh(raw[..., 2 * bins :] / FACTOR))
    slope = 2 * factor / (flat[..., 1:] + flat[..., :-1])  # at the K + 1 knots
    parts = (x, y, width, height, slope[..., :-1], slope[..., 1:])
    return Bin(*(part.gather(-1, at).squeeze(-1) for part in parts))
