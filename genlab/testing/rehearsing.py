"""Laws of a step on GPUs and on many processes, tried without either; see `planning.faults`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L

from genlab.planning import faults
from genlab.planning.exam import Fault
from genlab.testing.cases import Case
from genlab.testing.findings import Finding
from genlab.testing.ranks import Ranks
from genlab.testing.running import quiet_trainer


def devices(case: Case, ranks: Ranks) -> Finding:
    """On a GPU's tensors nothing lies elsewhere, is float64, or is waited for."""
    return _finding("devices", case, faults.on_a_gpu)


def worlds(case: Case, ranks: Ranks) -> Finding:
    """All ranks call the same collectives, and nothing grows faster than their number."""
    return _finding("worlds", case, lambda make: faults.on_many(make, ready=case.batches[0]))


def _finding(law: str, case: Case, find: Callable[[Any], list[Fault]]) -> Finding:
    with tempfile.TemporaryDirectory() as folder:

        def make(callback: L.Callback) -> Any:
            trainer = quiet_trainer(Path(folder), callback, max_epochs=1, log_every_n_steps=10**6)
            return case.fresh(), case.fresh_data(), trainer

        found = find(make)
    if "reads" in case.exceptions:
        found = [fault for fault in found if fault.kind not in ("host read", "host copy")]
    return Finding(law, not found, float(len(found)), "; ".join(map(str, found)))
