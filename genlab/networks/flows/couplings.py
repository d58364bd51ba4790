"""Coupling layers: one part of x stays and determines an elementwise map of the other part.

NICE: Dinh, Krueger, Bengio 2014, arXiv:1410.8516 (additive). RealNVP: Dinh, Sohl-Dickstein, Bengio
2016, arXiv:1605.08803 (affine, checkerboard and channel masks). Neural spline flows: Durkan et al.
2019, arXiv:1906.04032. Departure: the affine log-scale is softly bounded by a number, where RealNVP
learns the bound and Glow takes a sigmoid, whose inverse has none.

Every layer of a flow maps ``forward(x) -> (z, log_det)`` and ``inverse(z) -> (x, log_det)``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from genlab.networks.flows import splines

COUPLINGS = ("additive", "affine", "spline")
ElementMap = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
LOG_SCALE = 2.0  # bound of an affine coupling's |log-scale|


class Change(Protocol):
    """Increasing map of the real line for every element, given by parameters."""

    size: int  # numbers an element

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """Values (...,) and raw (..., size) -> values and log-slopes, 2 x (...,)."""
        ...

    def inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """The inverse of the same ``raw``."""
        ...


class Additive:
    """z = x + t."""

    size = 1

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """See `Change`."""
        return x + raw[..., 0], torch.zeros_like(x)

    def inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """See `Change`."""
        return z - raw[..., 0], torch.zeros_like(z)


class Affine:
    """z = x e^s + t with |s| < `LOG_SCALE`."""

    size = 2

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """See `Change`."""
        s = LOG_SCALE * torch.tanh(raw[..., 0] / LOG_SCALE)
        return x * s.exp() + raw[..., 1], s

    def inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """See `Change`."""
        s = LOG_SCALE * torch.tanh(raw[..., 0] / LOG_SCALE)
        return (z - raw[..., 1]) * (-s).exp(), -s


class Spline:
    """A rational-quadratic spline on [-bound, bound], see `splines`.

    Args:
        bins: K.
        bound: half the side of its box.
    """

    def __init__(self, bins: int = 8, bound: float = 5.0) -> None:
        if bins < 2 or bound <= 0:
            raise ValueError(f"a spline needs 2 bins and a bound above 0, got {bins}, {bound}")
        self.bound, self.size = bound, splines.parameters_per_value(bins)

    def forward(self, x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """See `Change`."""
        return splines.spline(x, raw, self.bound)

    def inverse(self, z: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
        """See `Change`."""
        return splines.inverse_spline(z, raw, self.bound)


def change(coupling: str, bins: int = 8, bound: float = 5.0) -> Change:
    """An elementwise map by name, see `COUPLINGS`.

    Raises:
        ValueError: unknown name, or a spline's numbers out of range.
    """
    if coupling not in COUPLINGS:
        raise ValueError(f"unknown coupling {coupling!r}; choose from {', '.join(COUPLINGS)}")
    if coupling == "spline":
        return Spline(bins, bound)
    return Additive() if coupling == "additive" else Affine()


class HalfCoupling(nn.Module):
    """Channel mask: the second half of the channels changes as a function of the first.

    Args:
        net: (B, C_stay, ...) -> (B, C_change * change.size, ...).
        change: map applied to every element.
        flip: True to change the first half instead.
    """

    def __init__(self, net: nn.Module, change: Change, flip: bool = False) -> None:
        super().__init__()
        self.net, self.change, self.flip = net, change, flip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, ...) -> (B, C, ...) and the log-determinant (B,)."""
        return self._apply_to(x, self.change.forward)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, ...) -> (B, C, ...) and the log-determinant (B,)."""
        return self._apply_to(z, self.change.inverse)

    def _apply_to(self, x: Tensor, change: ElementMap) -> tuple[Tensor, Tensor]:
        first, second = x.tensor_split([(x.shape[1] + 1) // 2], dim=1)
        stay, other = (second, first) if self.flip else (first, second)
        changed, log_slope = change(other, elementwise(self.net(stay), other))
        parts = (changed, stay) if self.flip else (stay, changed)
        return torch.cat(parts, 1), log_slope.flatten(1).sum(1)


class CheckerboardCoupling(nn.Module):
    """Checkerboard mask: the white pixels change as a function of the black ones.

    Args:
        net: (B, C, H, W) -> (B, C * change.size, H, W).
        change: map applied to every element.
        flip: True to change the black ones instead.
    """

    def __init__(self, net: nn.Module, change: Change, flip: bool = False) -> None:
        super().__init__()
        self.net, self.change, self.flip = net, change, flip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> (B, C, H, W) and the log-determinant (B,)."""
        return self._apply_to(x, self.change.forward)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> (B, C, H, W) and the log-determinant (B,)."""
        return self._apply_to(z, self.change.inverse)

    def _apply_to(self, x: Tensor, change: ElementMap) -> tuple[Tensor, Tensor]:
        stay = checkerboard(x) != self.flip  # (H, W)
        changed, log_slope = change(x, elementwise(self.net(x * stay), x))
        return torch.where(stay, x, changed), (log_slope * ~stay).flatten(1).sum(1)


def checkerboard(x: Tensor) -> Tensor:
    """True on the black pixels, (H, W), the one in the corner among them."""
    row, column = (torch.arange(n, device=x.device) for n in x.shape[-2:])
    return (row[:, None] + column) % 2 == 0


def elementwise(raw: Tensor, x: Tensor) -> Tensor:
    """A network's output (B, C * P, ...) as (B, C, ..., P), in x's precision."""
    return raw.to(x.dtype).unflatten(1, (x.shape[1], -1)).movedim(2, -1)
