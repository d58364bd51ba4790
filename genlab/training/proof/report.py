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
    """

    faults: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)
    unproved: list[str] = field(default_factory=list)
    seed: int | None = None
    trained: int = 0

    def refuse(self, fault: str) -> None:
        """Note a reason to refuse the run."""
        self.faults.append(fault)

    def show(self, what: str, before: int) -> None:
        """Note what holds, if no fault was added since there were ``before``."""
        if len(self.faults) == before:
            self.shown.append(what)
