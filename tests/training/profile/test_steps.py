"""Where a step's time goes: phases exclude what is inside them; the bare loop is the same step."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from genlab import recipes
from genlab.errors import RecipeError
from genlab.training.profile.bare_loop import BareLoop
from genlab.training.profile.steps import PHASES, Clock, StepTimer, Timeline, means, timed_batches


def work(seconds: float) -> None:
    """Spend CPU time."""
    start = time.process_time()
    while time.process_time() - start < seconds:
        pass


def test_a_phase_is_not_charged_for_what_is_inside_it() -> None:
    timeline = Timeline(Clock(torch.device("cpu")))
    work(0.02)  # before the clock runs
    timeline.resume()
    with timeline.phase("forward + loss"):
        work(0.02)
        with timeline.phase("backward"):
            work(0.04)
        work(0.01)
    work(0.01)
    timeline.pause()
    work(0.05)  # nobody's
    timeline.resume()
    timeline.wrap("data", work)(0.02)
    timeline.pause()
    found = timeline.seconds()
    expected = {"forward + loss": 0.03, "backward": 0.04, "trainer": 0.01, "data": 0.02}
    for name, value in found.items():
        assert value == pytest.approx(expected.get(name, 0.0), abs=0.008), name


def test_a_window_counts_what_happens_once_in_it() -> None:
    pairs = [(3.0 if i % 5 == 4 else 1.0, 1.0) for i in range(12)]  # the last two are no window
    assert means(pairs, 5) == [(7 / 5, 1.0)] * 2
    assert means(pairs[:3], 5) == [(1.0, 1.0)]


def fitted(name: str, folder: Path, *more: str) -> tuple[Any, BareLoop, StepTimer]:
    """A method after three steps of training, and a bare loop at its beginning."""
    from genlab.training.building import build

    words = ["trainer.max_epochs=1", "trainer.limit_train_batches=3", "trainer.limit_val_batches=0",
             "checkpoint.monitor=null", "track.wandb=off", "trainer.accelerator=cpu",
             "trainer.callbacks=[]"]  # fmt: skip
    lab = build(recipes.resolve([name], [*words, *more]), folder)
    (folder / "checkpoints").mkdir(parents=True)
    loops: list[BareLoop] = []

    class Waiting(StepTimer):
        """Its bare loop is left where it begins."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            super().on_train_start(trainer, pl_module)
            loops.append(self._loop)
            self._loop = Mock(spec=BareLoop)

    timer = Waiting(steps=1, warmup=1)
    lab.trainer.callbacks.append(timer)  # type: ignore[attr-defined]
    with timed_batches(type(lab.data.train_dataloader()), timer):
        lab.trainer.fit(lab.model, datamodule=lab.data)
    return lab.model, loops[0], timer


@pytest.mark.parametrize("name", ["autoencoder/digits", "classifier/digits"])
def test_the_bare_loop_ends_where_training_does(name: str, tmp_path: Path) -> None:
    """Methods without noise: the same batches, loss, schedule and optimiser, to the bit."""
    method, loop, timer = fitted(name, tmp_path)
    for _ in range(3):
        loop.step()
    trained = method.state_dict()
    for key, value in loop.method.state_dict().items():
        assert torch.equal(value, trained[key]), key
    assert timer.timeline.seconds()["forward + loss"] > 0


@pytest.mark.parametrize("name", ["byol/digits", "wgan_gp/digits", "fixmatch/digits"])
def test_the_bare_loop_trains_what_the_method_trains(name: str, tmp_path: Path) -> None:
    method, loop, timer = fitted(name, tmp_path)
    before = {k: p.detach().clone() for k, p in loop.method.named_parameters()}
    for _ in range(2):
        loop.step()
    start = {k: torch.equal(before[k], p) for k, p in loop.method.named_parameters()}
    after = {k: torch.equal(before[k], p) for k, p in method.named_parameters()}
    assert start == after  # what stays and what moves, momentum copies included
    assert loop.flops() > 0
    seconds = timer.timeline.seconds()
    assert set(seconds) == {*PHASES, "trainer"}
    assert min(seconds[p] for p in ("data", "forward + loss", "backward", "optimiser + EMA")) > 0


def test_the_command_prints_a_table_or_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from genlab.cli import run

    monkeypatch.chdir(tmp_path)
    words = ["bench", "vae/digits", "--steps", "4", "--warmup", "2", "trainer.accelerator=cpu"]
    run([*words, "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert figures["steps"] == 4
    assert sum(figures["phases_ms"].values()) == pytest.approx(figures["fit_ms"], rel=0.6)
    assert figures["images_per_step"] == 64
    assert figures["settings"] == ["trainer.accelerator=cpu"]
    run(words)
    assert "fit / bare" in capsys.readouterr().out
    assert not any(tmp_path.iterdir())  # nothing is left behind


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--steps", "1"], "--steps 1 must be at least 2"),
        (["--warmup", "0"], "--warmup 0 must be at least 1"),
        (["trainer.max_steps=5"], "bench sets trainer.max_steps itself"),
        (["trainer.limit_train_batches=0"], "limit_train_batches must be above 0"),
        (["trainer.accumulate_grad_batches=2"], "trainer.accumulate_grad_batches=1"),
        (["trainer.precision=bf16-true"], "did you mean bf16-mixed"),
    ],
)
def test_what_cannot_be_timed_is_refused(words: list[str], what: str) -> None:
    from genlab.cli import run

    with pytest.raises(RecipeError, match=what):
        run(["bench", "vae/digits", "trainer.accelerator=cpu", *words])


@pytest.mark.slow
def test_ctrl_c_says_one_line(tmp_path: Path) -> None:
    words = ["bench", "vae/digits", "--steps", "100000", "trainer.accelerator=cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "genlab", *words], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )  # fmt: skip
    assert process.stderr is not None
    assert "steps ..." in process.stderr.readline()
    time.sleep(5)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert not out
    assert len(error.splitlines()) == 1, error
    assert "nothing was measured" in error
