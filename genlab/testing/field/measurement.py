"""Measurements of a field report: what was measured, how far it may be off, and the verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass

OK, FAILS, MEASURED, SKIPPED, ERROR = "ok", "FAILS", "measured", "skipped", "error"
BAD = (FAILS, ERROR)


@dataclass(frozen=True)
class Measurement:
    """One line of a report.

    Args:
        subject: name of what was tried.
        verdict: ``ok``, ``FAILS``, ``measured`` (nothing to compare with), ``skipped`` or
            ``error``.
        value: measured number; None where there is none.
        tolerance: largest value that is ``ok``.
        unit: unit of both.
        note: place of a failure, reason of a skip, or how it was measured.
    """

    subject: str
    verdict: str
    value: float | None = None
    tolerance: float | None = None
    unit: str = ""
    note: str = ""

    @property
    def bad(self) -> bool:
        """True if the check fails by it."""
        return self.verdict in BAD


def within(
    subject: str, value: float, tolerance: float, note: str = "", unit: str = "relative"
) -> Measurement:
    """A difference, which may be ``tolerance``; one that is not a number fails."""
    good = math.isfinite(value) and value <= tolerance
    return Measurement(subject, OK if good else FAILS, value, tolerance, unit, note)


def measured(subject: str, value: float, unit: str, note: str = "") -> Measurement:
    """A number without another to compare it with."""
    return Measurement(subject, MEASURED, value, None, unit, note)


def skipped(subject: str, reason: str) -> Measurement:
    """A subject that cannot be tried here."""
    return Measurement(subject, SKIPPED, note=reason)


def holds(subject: str, good: bool, note: str = "") -> Measurement:
    """A statement that is true or not, without a number; the note says where it is not."""
    return Measurement(subject, OK if good else FAILS, note=note)
