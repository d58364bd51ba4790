"""Trainings that end early by a callback, or have no validation images."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightning as L
import pytest

import genlab
from genlab import checkpoints
from genlab.training import continuing


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
    stopping: dict[str, Any] = {
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
    longer = stopping | {"init_args": stopping["init_args"] | {"patience": 4}}
    run = genlab.fit(resume=run.path, settings={"trainer.callbacks": [longer]})
    assert "stopped early in epoch 5: val/loss has not improved" in capsys.readouterr().err
    assert run.metrics["step"] == 100


@pytest.mark.parametrize(
    ("monitor", "option", "why"),
    [
        ("val/loss", {"stopping_threshold": 1e9}, "val/loss has reached 1000000000.0"),
        ("val/loss", {"divergence_threshold": 1e-9}, "val/loss has diverged beyond 1e-09"),
        ("val/odd", {}, "val/odd is not finite"),
    ],
)
def test_early_stopping_says_why_also_in_the_first_epoch(
    fit: Any, capsys: pytest.CaptureFixture[str], monitor: str, option: dict[str, float], why: str
) -> None:
    stopping = {"class_path": "EarlyStopping", "init_args": {"monitor": monitor} | option}
    both = [{"class_path": f"{__name__}.Odd"}, stopping]
    run = fit("vae/digits", **{"trainer.callbacks+": both}, data__limit=640, data__batch_size=64)
    assert f"stopped early in epoch 1: {why}" in capsys.readouterr().err
    assert continuing._stopped_early(continuing.content(run.path / "checkpoints/last.ckpt"))


class Odd(L.Callback):
    """Logs a figure that is not finite."""

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pl_module.log("val/odd", float("nan"))


@pytest.mark.parametrize("recipe", ["classifier/digits", "vae/digits", "fixmatch/digits"])
def test_without_validation_images_the_last_checkpoint_is_the_result(fit: Any, recipe: str) -> None:
    run = fit(recipe, data__val_size=0, trainer__max_steps=3)
    assert run.metrics["test_checkpoint"] == "last.ckpt"
    assert not any(key.startswith(("val/", "best/")) for key in run.metrics)
    assert {file.name for file in (run.path / "checkpoints").iterdir()} == {"last.ckpt"}
    assert checkpoints.chosen(recipe).name == "last.ckpt"


@pytest.mark.parametrize(
    ("strategy", "why"),
    [
        ("ddp_notebook", "genlab starts its processes as commands"),
        ("ddp_spawn", "genlab starts its processes as commands"),
        ("fsdp", "every process of genlab holds all weights"),
        ("deepspeed_stage_2", "every process of genlab holds all weights"),
        ({"class_path": "FSDPStrategy"}, "every process of genlab holds all weights"),
        ("dpp", "is not one of genlab's"),
        ({"class_path": "DDPStrategy", "init_args": {"start_method": "fork"}}, "as commands"),
    ],
)
def test_strategies_that_split_weights_or_fork_are_refused(
    fit: Any, strategy: Any, why: str, tmp_path: Path
) -> None:
    with pytest.raises(genlab.InputError, match=why) as error:
        fit("vae/digits", trainer__strategy=strategy)
    assert len(str(error.value).splitlines()) <= 3
    assert not (tmp_path / "runs").exists()
