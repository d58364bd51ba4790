"""States of real trainings: running, killed, stopped, failed, done."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from genlab import runs
from genlab.errors import InputError
from genlab.experiments.comparison import Run
from genlab.runs import registry
from genlab.runs.rows import Row
from genlab.training import session
from genlab.training.endings import EarlyEnd
from tests.training.kills import command

QUIET = ("track.wandb=off", "trainer.accelerator=cpu", "trainer.log_every_n_steps=5",
         "checkpoint.every_n_steps=5", "trainer.max_steps=30",
         "trainer.limit_val_batches=1")  # fmt: skip


@dataclass(frozen=True)
class Signal:
    """What happens to a training after some steps: a look at the registry, then a signal."""

    number: int
    step: int

    def __call__(self) -> None:
        """Let it happen in a process that is going to train."""
        fit, watcher = L.Trainer.fit, L.Callback()

        def look(trainer: L.Trainer, *args: Any) -> None:
            if trainer.global_step == self.step:
                (row,) = registry.scan("runs")
                Path("seen").write_text(f"{row.state} {row.step}")
                os.kill(os.getpid(), self.number)

        watcher.on_train_batch_end = look  # type: ignore[method-assign, assignment]

        def watched(trainer: Any, *args: Any, **kwargs: Any) -> None:
            trainer.callbacks.append(watcher)
            fit(trainer, *args, **kwargs)

        L.Trainer.fit = watched  # type: ignore[method-assign, assignment]


def row_of(folder: Path) -> Row:
    (row,) = registry.scan(folder / "runs")
    return row


def test_a_run_that_trains_is_killed_stopped_and_comes_to_its_end(tmp_path: Path) -> None:
    killed = Signal(signal.SIGKILL, 12)
    command(tmp_path, "fit", "vae/digits", *QUIET, kill=killed, code=None)  # type: ignore[arg-type]
    assert (tmp_path / "seen").read_text() == "running 10"
    assert (row_of(tmp_path).state, row_of(tmp_path).step) == ("stale", 10)
    again = ("fit", "--resume", str(tmp_path / "runs/vae/digits/a"))
    ended = Signal(signal.SIGTERM, 20)
    command(tmp_path, *again, kill=ended, code=128 + signal.SIGTERM)  # type: ignore[arg-type]
    assert (tmp_path / "seen").read_text().startswith("running ")
    assert row_of(tmp_path).state == "stopped"
    command(tmp_path, *again)
    row = row_of(tmp_path)
    assert (row.state, row.step) == ("done", 30)
    assert row.best == runs.read_json(tmp_path / "runs/vae/digits/a/metrics.json")["best/val/loss"]
    assert 0 < row.hours < 1


def test_an_error_that_nobody_expected_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fault = [{"class_path": "tests.programs.Fail", "init_args": {"step": 3}}]
    settings = {"track.wandb": "off", "trainer.accelerator": "cpu", "trainer.callbacks": fault}
    with pytest.raises(ArithmeticError):
        session.fit("vae/digits", settings)
    assert row_of(tmp_path).state == "failed"
    (run,) = Path("runs").glob("*/*/*")
    assert runs.read_json(run / "run.json")["failed"].startswith("ArithmeticError: ")


def test_a_run_that_is_done_stays_so_when_its_continuation_fails_before_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = {"track.wandb": "off", "trainer.accelerator": "cpu", "trainer.max_steps": 4}
    run = session.fit("vae/digits", settings).path
    with pytest.raises(EarlyEnd):
        session.fit(None, {"trainer.max_steps": 9, "model.optimizer.lr": 1e30}, resume=run)
    assert "not finite" in runs.read_json(run / "run.json")["failed"]
    assert (row_of(tmp_path).state, row_of(tmp_path).step) == ("done", 4)
    assert Run(run).state == "done"
    assert runs.checkpoint("vae/digits").parents[1].name == run.name
    newer = run / "checkpoints" / "step-00000006.ckpt"
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    torch.save(content | {"global_step": 6}, newer)
    assert row_of(tmp_path).state == Run(run).state == "failed"
    with pytest.raises(InputError, match="has failed"):
        runs.checkpoint("vae/digits")
