"""Trainings that end early by a callback, or have no validation images."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import genlab
from genlab import checkpoints


@pytest.fixture
def fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A training in this process, in a folder of its own, in which every warning is an error."""
    monkeypatch.chdir(tmp_path)

    def run(recipe: str, **settings: Any) -> genlab.Run:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            long = {key.replace("__", "."): value for key, value in settings.items()}
            return genlab.fit(recipe, {"track.wandb": "off"} | long)

    return run


def test_early_stopping_ends_a_run_as_max_epochs_would(
    fit: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    stopping = {
        "class_path": "EarlyStopping",
        "init_args": {"monitor": "val/loss", "patience": 2, "min_delta": 100.0},  # never better
    }
    run = fit("classifier/digits", **{"trainer.callbacks+": [stopping]}, trainer__max_epochs=10)
    said = capsys.readouterr().err
    assert "val/loss has not improved for 2 validations" in said
    assert run.metrics["step"] == 60  # three epochs of twenty steps
    assert run.metrics["test_checkpoint"] == "best.ckpt"
    assert run.metrics["test/accuracy"] > 0.5
    assert checkpoints.read(run.path / "checkpoints" / "last.ckpt")["global_step"] == 60


@pytest.mark.parametrize("recipe", ["classifier/digits", "vae/digits", "fixmatch/digits"])
def test_without_validation_images_the_last_checkpoint_is_the_result(fit: Any, recipe: str) -> None:
    run = fit(recipe, data__val_size=0, trainer__max_steps=3)
    assert run.metrics["test_checkpoint"] == "last.ckpt"
    assert not any(key.startswith(("val/", "best/")) for key in run.metrics)
    assert {file.name for file in (run.path / "checkpoints").iterdir()} == {"last.ckpt"}
    assert checkpoints.chosen(recipe).name == "last.ckpt"
