"""NSF: its steps, and two moons by splines."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.data import Toys
from genlab.methods.nsf import NSF
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer


@pytest.mark.parametrize(
    ("transform", "kind"), [("coupling", "HalfCoupling"), ("autoregressive", "Autoregressive")]
)
def test_a_step_is_a_linear_map_and_a_transform(transform: str, kind: str) -> None:
    method = NSF(7, 1, transform=transform, steps=3, width=8, preprocess="none")
    found = Counter(type(m).__name__ for m in method.modules())
    assert found["InvertibleConv"] == found["ActNorm"] == found[kind] == 3
    assert found["Whitening"] == 1


def test_two_moons_are_learnt_to_their_known_density(tmp_path: Path) -> None:
    """The true density has 1.39 nats; a Gaussian fitted to the points 2.9."""
    torch.manual_seed(0)
    method = NSF(2, 1, transform="autoregressive", steps=3, width=32, blocks=1, preprocess="none",
                 optimizer={"name": "adam", "lr": 1e-2, "schedule": "cosine"})  # fmt: skip
    data = Toys("two_moons", size=20_000, held_out=4000, batch_size=256, seed=0)
    run = trainer(tmp_path, Reseed(), max_epochs=3, limit_val_batches=0)
    run.fit(method, datamodule=data)
    run.test(method, datamodule=data, verbose=False)
    points = torch.cat([b["image"] for b in data.bank_dataloader("test")])
    true = -float(data.log_prob(points).mean())
    assert true - 0.02 < float(run.callback_metrics["test/loss"]) < true + 0.3


def test_bad_arguments_are_named() -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"transform": "mixed"}, "unknown transform 'mixed'; choose from coupling, autoregressive"),
        ({"steps": 0}, "steps 0 and width 256 must be at least 1"),
        ({"channels": 1, "image_size": 1}, "1 numbers at least 2"),
        ({"bins": 1}, "a spline needs 2 bins"),
    ]
    for options, words in wrong:
        with pytest.raises(ValueError, match=words):
            NSF(**options)
