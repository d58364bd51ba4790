"""Levels of noise: how training draws them, how it weighs them, and the grids of samplers.

A level is the standard deviation s of the noise that is added to an image: x = y + s n. A process
that shrinks the image, sqrt(a) y + sqrt(1 - a) n, is the same in other units: s^2 = (1 - a) / a.

Karras, Aittala, Aila, Laine 2022 (EDM), arXiv:2206.00364, table 1; Ho, Jain, Abbeel 2020 (DDPM),
arXiv:2006.11239; the cosine: Nichol & Dhariwal 2021, arXiv:2102.09672.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SCHEDULES = ("edm", "linear", "cosine")
TIMES = 1000  # T of DDPM
LINEAR = (1e-4, 0.02)  # its first and last beta
OFFSET, MOST = 0.008, 0.999  # of the cosine: keeps the first betas from 0, the last from 1
LOW, HIGH, BEND = 0.002, 80.0, 7.0  # of EDM's grid
EDM_MEAN, EDM_SPREAD = -1.2, 1.2  # of the log of training's levels
TINY = 1e-6  # distance of a draw from 0 and 1, where a normal's quantile is infinite


def kept_signal(schedule: str) -> Tensor:
    """Share a of the image's variance that is left after each of DDPM's T steps: (T,) float64.

    Args:
        schedule: ``linear`` or ``cosine``.

    Raises:
        ValueError: another schedule.
    """
    if schedule == "linear":
        beta = torch.linspace(*LINEAR, TIMES, dtype=torch.float64)
        return (1 - beta).cumprod(0)
    if schedule == "cosine":
        time = torch.arange(TIMES + 1, dtype=torch.float64) / TIMES
        kept = ((time + OFFSET) / (1 + OFFSET) * math.pi / 2).cos().square()
        return (1 - (1 - kept[1:] / kept[:-1]).clamp(max=MOST)).cumprod(0)
    raise ValueError(f"unknown schedule {schedule!r}; choose from linear, cosine")


class NoiseLevels(nn.Module):
    """The levels of a schedule.

    Args:
        schedule: ``edm``: log s normally distributed in training; ``linear`` or ``cosine``: DDPM's
            1,000 levels, all alike.
        mean: mean of log s, for ``edm`` only; None for -1.2.
        spread: standard deviation of log s, for ``edm`` only; None for 1.2.

    Attributes:
        bounds: smallest and largest level of the grids.

    Raises:
        ValueError: unknown schedule, a spread that is not above 0, or one of the two for DDPM's
            levels.
    """

    table: Tensor  # (T,) levels in ascending order, empty for ``edm``

    def __init__(
        self, schedule: str = "edm", mean: float | None = None, spread: float | None = None
    ) -> None:
        super().__init__()
        if schedule not in SCHEDULES:
            raise ValueError(f"unknown schedule {schedule!r}; choose from {', '.join(SCHEDULES)}")
        for name, given in (("sigma_log_mean", mean), ("sigma_log_spread", spread)):
            if given is not None and schedule != "edm":
                raise ValueError(
                    f"{name} requires schedule edm, and {schedule} has levels of its own"
                )
        self.mean = EDM_MEAN if mean is None else mean
        self.spread = EDM_SPREAD if spread is None else spread
        if self.spread <= 0:
            raise ValueError(f"sigma_log_spread {spread} must be above 0")
        kept = torch.empty(0) if schedule == "edm" else kept_signal(schedule)
        levels = ((1 - kept) / kept).sqrt()
        self._levels: list[float] = levels.tolist()
        self.bounds = (self._levels[0], self._levels[-1]) if self._levels else (LOW, HIGH)
        self.register_buffer("table", levels.float(), persistent=False)

    def at(self, place: Tensor) -> Tensor:
        """Levels at places of their distribution, uniform in [0, 1): (B,) -> (B,)."""
        if not self._levels:
            normal = torch.special.ndtri(place.clamp(TINY, 1 - TINY))
            return (self.mean + self.spread * normal).exp()
        return self.table.to(place.dtype)[(place * TIMES).long().clamp(max=TIMES - 1)]

    def weight(self, level: Tensor, sigma_data: float) -> Tensor:
        """Weight of an image's squared error: (B,) -> (B,).

        ``edm``: 1 / s^2 + 1 / sigma_data^2; else 1 / s^2, that of the noise's error (L_simple).
        """
        noise = level**-2
        return noise if self._levels else noise + sigma_data**-2

    def grid(self, steps: int) -> list[float]:
        """The levels that a sampler visits, from the largest to 0: ``steps`` + 1 numbers.

        ``edm``: equal steps of s^(1/7); else every T / ``steps``-th of DDPM's, the last included
        ("trailing").

        Raises:
            ValueError: fewer than two steps, or more than there are levels.
        """
        if steps < 2 or (self._levels and steps > TIMES):
            raise ValueError(f"sampler_steps {steps} must be at least 2, of DDPM at most {TIMES}")
        if self._levels:
            visited = [round(TIMES - k * TIMES / steps) - 1 for k in range(steps)]
            return [*(self._levels[k] for k in visited), 0.0]
        low, high = (bound ** (1 / BEND) for bound in (LOW, HIGH))
        return [
            *((high + k / (steps - 1) * (low - high)) ** BEND for k in range(steps)),
            0.0,
        ]
