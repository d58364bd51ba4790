"""Loggers of Lightning's and of one's own in addition to metrics.csv, read by their own readers."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest

import genlab
from genlab import recipes
from genlab.errors import InputError
from genlab.training.tracking import other_loggers
from genlab.training.tracking.guarding import never_fatal
from tests.conftest import Here
from tests.training.tracking.breaking import Breaking

SMALL = {
    "track.wandb": "off",
    "track.test_after_fit": False,
    "trainer.max_epochs": 1,
    "trainer.limit_train_batches": 3,
    "trainer.log_every_n_steps": 1,
    "trainer.callbacks": [{"class_path": "Pictures", "init_args": {"every_n_epochs": 1}}],
    "model.latent_dim": 2,
}
OWN = "tests.training.tracking.breaking.Breaking"


def rows(run: genlab.Run, key: str) -> list[tuple[int, float]]:
    with (run.path / "metrics.csv").open() as file:
        return [(int(r["step"]), float(r[key])) for r in csv.DictReader(file) if r[key]]


def test_tensorboard_and_mlflow_have_the_rows_of_a_run_and_of_its_continuation(here: Here) -> None:
    pytest.importorskip("tensorboard", reason="genlab[loggers] is not installed")
    pytest.importorskip("mlflow", reason="genlab[loggers] is not installed")
    listed = ["tensorboard", {"class_path": "mlflow", "init_args": {"run_name": "mine"}}]
    run = genlab.fit("vae/digits", SMALL | {"track.loggers": listed, "track.notes": "why"})
    run = genlab.fit(resume=run, settings={"trainer.max_epochs": 2})
    wanted = rows(run, "train/loss")
    assert [step for step, _ in wanted] == list(range(6))
    board = of_tensorboard(run)
    assert_close([(e.step, e.value) for e in board.Scalars("train/loss")], wanted)
    assert [e.step for e in board.Images("pictures/samples")] == [2, 5]
    assert board.Scalars("best/val/loss")
    client, stored = of_mlflow(run)
    assert stored.info.status == "FINISHED"
    assert stored.data.params["model.latent_dim"] == "2"
    assert stored.data.tags["mlflow.runName"] == "mine"
    assert stored.data.tags["mlflow.note.content"] == "why"
    history = client.get_metric_history(stored.info.run_id, "train/loss")
    assert_close(sorted((m.step, m.value) for m in history), wanted)
    files = [file.path for file in client.list_artifacts(stored.info.run_id, "pictures")]
    assert "pictures/samples-00000006.png" in files


def assert_close(found: list[tuple[int, float]], wanted: list[tuple[int, float]]) -> None:
    assert [step for step, _ in found] == [step for step, _ in wanted]
    assert [value for _, value in found] == pytest.approx([value for _, value in wanted])


@pytest.mark.parametrize("kind", [SystemExit, ConnectionError])
def test_a_logger_that_would_end_the_program_is_lost(
    kind: type[BaseException], capsys: pytest.CaptureFixture[str]
) -> None:
    def call() -> None:
        calls.append(1)
        raise kind("no licence")

    calls: list[int] = []
    guarded = never_fatal(Breaking(), call)
    guarded()
    guarded()
    assert len(calls) == 1
    assert "Breaking is lost (no licence)" in capsys.readouterr().err


def test_a_logger_that_would_end_the_program_at_its_start_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def call(self: Breaking, at_start: bool = False) -> None:
        raise SystemExit(1)

    recipe = recipes.resolve(["vae/digits"], ["track.loggers=[" + OWN + "]"])
    (planned,) = other_loggers.plan(recipe, Path("run"))
    monkeypatch.setattr(Breaking, "__init__", call)
    assert planned.start({}, "run", 0) is None
    assert "cannot start (1)" in capsys.readouterr().err


def of_tensorboard(run: genlab.Run) -> Any:
    """The events of a run, by TensorBoard's own reader."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(run.path / "tensorboard"))
    board.Reload()
    return board


def of_mlflow(run: genlab.Run) -> tuple[Any, Any]:
    """MLflow's own client, and the only run in a run's folder."""
    from mlflow.tracking import MlflowClient

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # as genlab sets it while it trains
        client = MlflowClient(f"file:{run.path / 'mlruns'}")
    experiment: Any = client.get_experiment_by_name("genlab")
    (stored,) = client.search_runs([experiment.experiment_id])
    return client, stored


@pytest.mark.parametrize(
    ("loggers", "said"),
    [
        (["tensorboard", "tensorboard"], ["names tensorboard twice"]),
        (["tensorbord"], ["no logger tensorbord", "did you mean tensorboard"]),
        ([{"class_path": "tensorboard", "init_args": {"nam": 1}}], ["no argument nam", "name"]),
        ([{"class_path": "tensorboard", "init_args": {"prefix": [1]}}], ["prefix must be str"]),
        ([{"class_path": "tensorboard", "name": 1}], ["no key name", "init_args"]),
        ([{"init_args": {}}], ["names no logger", "class_path"]),
        (["genlab.data.digits.Digits"], ["is not a Logger"]),
        ([{"class_path": "comet", "init_args": {"api_key": "k3y"}}], ["api_key", "environment"]),
        ([{"class_path": OWN, "init_args": {"a": [{"Auth_Token": "k3y"}]}}], ["Auth_Token"]),
        (["nowhere.Logger"], ["there is no module nowhere"]),
        ("tensorboard", ["must be list"]),
        (["comet"], ["CometLogger requires the package comet_ml", "pip install comet_ml"]),
    ],
)
def test_a_wrong_logger_is_refused_before_anything_is_written(
    here: Here, loggers: Any, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        other_loggers, "find_spec", lambda name: None if name == "comet_ml" else object()
    )
    with pytest.raises(InputError) as refusal:
        genlab.fit("vae/digits", SMALL | {"track.loggers": loggers})
    lines = str(refusal.value).splitlines()
    assert len(lines) <= 3
    assert "track.loggers" in lines[0] + lines[1]
    assert all(words in str(refusal.value) for words in said), lines
    assert "k3y" not in str(refusal.value)
    assert not list(here.folder.iterdir())


def test_a_logger_that_fails_is_reported_once_and_ends_nothing(
    here: Here, capsys: pytest.CaptureFixture[str]
) -> None:
    late = {"class_path": OWN, "init_args": {"at_start": True}}
    run = genlab.fit("vae/digits", SMALL | {"track.loggers": [OWN, late]})
    assert run.metrics["step"] == 3
    said = [line for line in capsys.readouterr().err.splitlines() if "metrics.csv goes on" in line]
    assert said == [
        "Breaking cannot start (nobody there); metrics.csv goes on",
        "Breaking is lost (the server is gone); metrics.csv goes on",
    ]
    foreign = shutil.copytree(run.path, here.folder / "foreign")
    for settings in ({}, {"track.loggers": ["tensorbord"]}):
        with pytest.raises(InputError, match=r"is refused|no logger"):  # a file names its class
            genlab.fit(resume=foreign, settings=settings | {"trainer.max_epochs": 2})
    assert not (Path(foreign) / "tensorboard").exists()
