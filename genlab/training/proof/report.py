"""Findings of a verification."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Report:
    """Faults of a run, and how far it was checked.

    Attributes:
        faults: reasons to refuse the run, a line each.
        shown: checks that hold, a line each.
        unproved: parts that were not checked, or cannot be proved here.
        seed: number from which windows were drawn; None if none were.
        trained: optimiser steps that were trained again.
        since: step from which they could be.
        exact: True if they had to come to the same bits.
    """

    faults: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)
    seed: int | None = None
    trained: int = 0
    since: int = 0
    exact: bool = True

    @property
    def verdict(self) -> str:
        """Refused, accepted, or no fault where no bits could be compared."""
        if self.faults:
            return f"refused: {len(self.faults)} fault{'s' * (len(self.faults) > 1)}"
        if not self.trained or not self.exact:
            return "no fault"
        return f"accepted from step {self.since:,}" if self.since else "accepted"

    def refuse(self, fault: str) -> None:
        """Note a reason to refuse the run."""
        self.faults.append(fault)

    def show(self, what: str, before: int) -> None:
        """Note what holds, if no fault was added since there were ``before``."""
        if len(self.faults) == before:
            self.shown.append(what)
