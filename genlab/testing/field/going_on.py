"""Resumed trainings on the device."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from genlab.testing.field.measurement import Measurement, holds, skipped
from genlab.testing.field.place import Place
from genlab.testing.field.steps import case_of
from genlab.testing.resuming import fitted


def resume(place: Place, kind: str) -> Iterator[Measurement]:
    """A resumed training equals the straight one to the bit, with deterministic algorithms."""
    case, options = case_of(kind), place.trainer()
    with tempfile.TemporaryDirectory() as name, place.side(), _deterministic():
        folder = Path(name)
        try:
            straight = fitted(case, folder / "straight", None, **options).state_dict()
            files = sorted((folder / "straight/checkpoints").glob("step-*.ckpt"))
            middle = files[len(files) // 2 + 1]
            resumed = fitted(case, folder / "resumed", middle, **options).state_dict()
        except RuntimeError as error:
            if "deterministic" not in str(error):
                raise
            yield skipped(kind, f"torch has no deterministic {str(error).split()[0]}")
            return
    apart = [name for name, value in straight.items() if not torch.equal(value, resumed[name])]
    note = f"{len(apart)} of {len(straight)} tensors, {apart[0]} first" if apart else middle.stem
    yield holds(kind, not apart, note)


@contextmanager
def _deterministic() -> Iterator[None]:
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
