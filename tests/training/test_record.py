"""What a run remembers, read again after a crash."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, TextIO

import numpy as np
import pytest

from genlab import runs
from genlab.training import record
from tests.conftest import Here


def test_the_last_validation_is_found_though_the_last_row_is_torn(tmp_path: Path) -> None:
    text = "step,train/loss,val/loss,val/accuracy\n3,1.5,,\n3,,0.9,0.5\n7,1.25,0.7,\n11,1.0,0."
    (tmp_path / "metrics.csv").write_text(text)
    expected = {"val/loss": 0.7, "val/accuracy": 0.5, "val_step": 8}
    assert record.last_validation(tmp_path) == expected
    assert record.last_validation(tmp_path / "nothing") == {}


def test_torn_splits_are_written_again(tmp_path: Path) -> None:
    splits = {"train": np.arange(90), "val": np.arange(90, 100)}
    lab: Any = SimpleNamespace(data=SimpleNamespace(splits=lambda: splits))
    file = tmp_path / "splits.npz"
    for content in (None, b"", b"PK\3\4torn"):
        if content is not None:
            file.write_bytes(content)
        record._write_splits(lab, tmp_path)
        with np.load(file) as found:
            assert found["val"].tolist() == splits["val"].tolist()
    before = file.stat().st_mtime_ns
    record._write_splits(lab, tmp_path)
    assert file.stat().st_mtime_ns == before


def test_of_two_starts_with_one_name_one_trains(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one has trained while this one waited for the lock."""
    monkeypatch.setenv("GENLAB_RUN_ID", "mine")
    lock = runs.lock

    def late(run: Path) -> TextIO:
        (run / "recipe.yaml").write_text("# genlab run of vae/digits\n")
        return lock(run)

    monkeypatch.setattr(runs, "lock", late)
    _, said = here("fit", "vae/digits", "trainer.max_steps=1", "track.wandb=off", code=2)
    assert "mine contains a run already; continue it with --resume" in said
    assert (here.folder / "runs/vae/digits/mine/recipe.yaml").read_text().count("\n") == 1
