"""Metrics of a validation set whose size no number of processes divides are those of one process.

Its batches differ in size between ranks; no image is left out or counted twice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from genlab import testing
from genlab.testing.running import quiet_trainer
from genlab.testing.tiny import HELD_OUT

SMALLEST = testing.smallest()
WITHOUT = ("WGANGP", "KNN")  # scores against new samples; neighbours are none of untrained features
FEW = ("Autoencoder", "VQVAE", "Classifier")


def measured(
    rank: int, world: int, make: Callable[[], L.LightningModule], data: Any
) -> dict[str, float]:
    """Metrics of a validation on this process, or on all of the process group."""
    options = {"strategy": "ddp", "devices": world} if world > 1 else {}
    with tempfile.TemporaryDirectory() as folder:
        trainer = quiet_trainer(Path(folder), limit_val_batches=1.0, **options)
        trainer.validate(make(), datamodule=data, verbose=False)
    return {key: float(value) for key, value in trainer.callback_metrics.items()}


def is_as_one(kind: str, world: int, ranks: testing.Ranks) -> None:
    recipe = SMALLEST[kind]
    assert recipe is not None
    case = testing.case([recipe])
    assert HELD_OUT % world
    one = ranks.run(measured, 1, case.portable, case.fresh_data())[0]
    for many in ranks.run(measured, world, case.portable, case.fresh_data()):
        assert many == pytest.approx(one, rel=1e-5)


@pytest.mark.parametrize("kind", FEW)
def test_metrics_of_indivisible_sets(kind: str, ranks: testing.Ranks) -> None:
    is_as_one(kind, 3, ranks)


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3, 8])
@pytest.mark.parametrize("kind", sorted(set(SMALLEST) - set(WITHOUT)))
def test_metrics_of_indivisible_sets_of_every_method(
    kind: str, world: int, ranks: testing.Ranks
) -> None:
    is_as_one(kind, world, ranks)
