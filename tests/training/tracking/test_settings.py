"""W&B's identity and what happens when there is no way to it; read back from offline files."""

from __future__ import annotations

import json
import time
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from lightning.pytorch.loggers.logger import DummyLogger

from genlab import runs
from genlab.training.tracking import settings as module
from genlab.training.tracking import wandb_run
from genlab.training.tracking.configuration import flat, short
from genlab.training.tracking.csv_log import CSVLog
from genlab.training.tracking.settings import Tracking, wandb_identity
from genlab.training.tracking.wandb_run import WandbRun
from tests.cli.test_wandb import records

CONFIG = {
    "seed_everything": 3,
    "model": {"class_path": "genlab.methods.vae.VAE", "init_args": {"latent_dim": 2}},
    "data": {"class_path": "genlab.data.digits.Digits", "init_args": {"batch_size": 8}},
    "trainer": {"max_epochs": 2, "callbacks": [{"class_path": "Pictures"}]},
}
SLURM = {"SLURM_JOB_ID": "8", "SLURM_JOB_NODELIST": "node[0-1]", "SLURM_RESTART_COUNT": "2"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("WANDB_MODE", "WANDB_API_KEY", "SLURM_ARRAY_JOB_ID", "WANDB_SWEEP_ID"):
        monkeypatch.setenv(name, "")  # and whatever the test makes of it goes again
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody answers here
    monkeypatch.setattr(module, "INIT_SECONDS", 3)
    run = runs.make(tmp_path / "runs" / "vae" / "digits" / "slurm-7_1")
    runs.write_json(run / "run.json", {"wandb_id": "slurm-7_1-abcd"})
    return run


def written(run: Path) -> list[Any]:
    """Records of the run's only offline file, once it is whole."""
    (file,) = run.glob("wandb/offline-run-*/*.wandb")
    for _ in range(100):
        seen = records(file)
        if any(record.WhichOneof("record_type") == "exit" for record in seen):
            return seen
        time.sleep(0.1)
    raise AssertionError("no exit record")


def config_of(seen: list[Any]) -> dict[str, Any]:
    updates = [r.config.update for r in seen if r.WhichOneof("record_type") == "config"]
    return {item.key: json.loads(item.value_json) for update in updates for item in update}


def test_the_configuration_has_the_names_of_the_command_line() -> None:
    twice = [{"class_path": "a.B", "init_args": {"x": 1}}, {"class_path": "c.B"}]
    config = {"trainer": {"callbacks": twice, "plugins": [1, {"y": {}}]}, "run": {"history": [2]}}
    found = short(config)
    assert found == {
        "trainer": {"callbacks": {"B": {"x": 1}, "B-2": {}}, "plugins": [1, {"y": {}}]},
        "run": {},
    }
    assert flat(found) == {
        "trainer.callbacks.B.x": 1,
        "trainer.callbacks.B-2": "{}",
        "trainer.plugins": "[1, {'y': {}}]",
        "run": "{}",
    }


def test_identity_group_tags_and_the_whole_recipe(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    tracking = Tracking(wandb="offline", tags=["mine"])
    csv, logger = tracking.started(run, "vae/digits", CONFIG | {"run": {"slurm": SLURM}})
    assert isinstance(csv, CSVLog)
    assert isinstance(logger, WandbRun)
    logger.log_metrics({"train/loss": 1.0}, step=4)
    logger.close()
    seen = written(run)
    (started,) = [r.run for r in seen if r.WhichOneof("record_type") == "run"]
    assert started.run_id == "slurm-7_1-abcd"
    assert (started.run_group, started.job_type) == ("slurm-7", "fit")
    assert list(started.tags) == ["VAE", "Digits", "mine"]
    config = config_of(seen)
    assert {key: config[key] for key in CONFIG} == {
        "seed_everything": 3,
        "model": {"class": "VAE", "latent_dim": 2},  # model.latent_dim in the project's table
        "data": {"class": "Digits", "batch_size": 8},
        "trainer": {"max_epochs": 2, "callbacks": {"Pictures": {}}},
    }
    assert config["run"]["slurm"] == SLURM


@pytest.mark.parametrize(
    ("key", "reason"), [("a" * 40, "connection refused"), ("short", "40+ characters"), ("", "key")]
)
def test_without_a_way_to_the_server_training_goes_on(
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    key: str,
    reason: str,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    loggers = Tracking(wandb="online").started(run, "vae/digits", CONFIG)
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 2
    assert "cannot be reached" in said[0]
    assert reason in said[0]
    assert f"genlab sync {run}" in said[1]
    for logger in loggers:
        logger.log_metrics({"train/loss": 1.0}, step=4)
    logger = loggers[1]
    assert isinstance(logger, WandbRun)
    logger.close()
    assert any(r.WhichOneof("record_type") == "history" for r in written(run))
    assert not list(run.glob("wandb/run-*"))  # the online run that never began
    assert "1.0" in (run / "metrics.csv").read_text()


def test_a_service_that_dies_is_said_once(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = Tracking(wandb="offline").started(run, "vae/digits", CONFIG)[1]
    assert isinstance(logger, WandbRun)
    finish = logger.experiment.finish

    def broken(*_: Any, **__: Any) -> None:
        raise BrokenPipeError("the service is gone")

    monkeypatch.setattr(logger.experiment, "log", broken)
    capsys.readouterr()
    for step in range(3):
        logger.log_metrics({"train/loss": 1.0}, step=step)
    logger.close()
    assert capsys.readouterr().err == "W&B is lost (the service is gone); metrics.csv goes on\n"
    finish()


def test_a_run_that_was_not_finite_has_failed_for_wandb_too(run: Path) -> None:
    logger = Tracking(wandb="offline").started(run, "vae/digits", CONFIG)[1]
    assert isinstance(logger, WandbRun)
    logger.fail("loss of step 3 is not finite (nan)")
    records = written(run)
    (end,) = [r.exit for r in records if r.WhichOneof("record_type") == "exit"]
    assert end.exit_code == 1
    told = [u for r in records for u in r.summary.update]
    assert ("failed", '"loss of step 3 is not finite (nan)"') in [
        (u.key, u.value_json) for u in told
    ]


def test_a_requeue_does_not_wait_for_a_server_that_is_gone(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    logger = Tracking(wandb="offline").started(run, "vae/digits", CONFIG)[1]
    assert isinstance(logger, WandbRun)
    finish, patience = logger.experiment.finish, Event()
    monkeypatch.setattr(logger.experiment, "finish", lambda: patience.wait(60))
    monkeypatch.setattr(wandb_run, "PAUSE_SECONDS", 0.1)
    start = time.monotonic()
    logger.pause()
    assert time.monotonic() - start < 5
    assert "does not take what is left" in capsys.readouterr().err
    patience.set()
    monkeypatch.setattr(wandb_run, "PAUSE_SECONDS", 60)
    monkeypatch.setattr(logger.experiment, "finish", finish)
    logger.lost = ""
    logger.pause()
    assert written(run)
    assert not capsys.readouterr().err


def test_no_place_for_wandb_leaves_the_csv(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(WandbRun, "configure", full)
    csv, logger = Tracking(wandb="offline").started(run, "vae/digits", CONFIG)
    assert isinstance(csv, CSVLog)
    assert isinstance(logger, DummyLogger)


def test_numbered_runs_get_an_id_that_no_other_cluster_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dated = Path("runs/vae/digits/20261121-121212-ab12")
    assert wandb_identity(dated) == dated.name
    numbered = {wandb_identity(Path("runs/vae/digits/slurm-7_1")) for _ in range(20)}
    assert len(numbered) > 1
    assert all(name.startswith("slurm-7_1-") for name in numbered)
    monkeypatch.setenv("WANDB_SWEEP_ID", "s")
    monkeypatch.setenv("WANDB_RUN_ID", "chosen")
    assert wandb_identity(dated) == "chosen"
