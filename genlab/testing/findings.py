"""Findings of laws: a measured difference, and whether it is small enough."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Finding:
    """The verdict of one law.

    Args:
        law: its short name.
        passed: True if the method obeys.
        difference: measured difference; None for laws that only say yes or no.
        note: place of the failure, or description of the trial.
        excused: the law does not apply; the note says why.
    """

    law: str
    passed: bool
    difference: float | None = None
    note: str = ""
    excused: bool = False


def excused(law: str, reason: str) -> Finding:
    """The law does not apply."""
    return Finding(law, True, None, reason, excused=True)


def worst(
    found: Iterable[tuple[str, Mapping[str, Tensor], Mapping[str, Tensor]]],
) -> tuple[float, str]:
    """The largest relative difference between two groups of tensors, and the tensor's name.

    Args:
        found: (what they are, tensors, tensors to compare with); a name that one of them lacks is
            an infinite difference.
    """
    most, where = 0.0, ""
    for group, one, other in found:
        for name in {*one, *other}:
            apart = difference(one.get(name), other.get(name))
            if not apart <= most:
                most, where = apart, f"{group} {name}".strip()
                if math.isnan(most):
                    return math.inf, where
    return most, where


def difference(one: Tensor | None, other: Tensor | None) -> float:
    """The largest difference between two tensors, relative to the largest entry of the second."""
    if one is None or other is None or one.shape != other.shape:
        return math.inf
    if not one.numel():
        return 0.0
    one, other = one.double(), other.double()
    scale = float(other.abs().max().clamp(min=1e-6))
    return float((one - other).abs().max()) / scale
