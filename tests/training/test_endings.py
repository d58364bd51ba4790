"""What happens in mid-training that is nobody's wish, and what is left of the run."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from threading import Timer
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from genlab import checkpoints, runs
from genlab.training import endings
from genlab.training.endings import EarlyEnd, early_refusals, faults
from genlab.training.engine.failure import Failure
from tests.cli.test_wandb import records
from tests.conftest import Shell
from tests.fake_data import write_pictures

SLOW = "trainer.callbacks+=[{class_path: tests.programs.Slow, init_args: {seconds: 0.05}}]"


def training(shell: Shell) -> Path:
    """The run directory of a training that has written a checkpoint in mid-training."""
    end = time.monotonic() + 200
    while True:
        for found in shell.runs():
            if runs.newest(found) is not None:
                return found
        assert time.monotonic() < end
        time.sleep(0.2)


def test_data_that_vanishes_leaves_a_checkpoint_and_one_clear_message(shell: Shell) -> None:
    pictures = shell.folder / "pictures"
    write_pictures(pictures)
    process = shell.start(
        "fit", "classifier/digits", "data=ImageFolder", f"data.root={pictures}",
        "data.in_memory=false", "data.image_size=16", "data.batch_size=8", "data.val_size=10",
        "data.workers=1", "trainer.max_epochs=500", "checkpoint.every_n_steps=5", SLOW,
        "track.wandb=off", PYTHONPATH=str(Path(__file__).parents[2]),
    )  # fmt: skip
    run = training(shell)
    shutil.rmtree(pictures)
    _, error = process.communicate(timeout=200)
    assert process.returncode == 1, error
    said = error[error.index("genlab: ") :].strip().splitlines()
    assert len(said) <= 3, error
    assert "pictures" in said[0]
    assert f"genlab fit --resume {run}" in error
    assert "Traceback" not in error
    newest = runs.newest(run)
    assert newest is not None
    assert checkpoints.read(newest)["global_step"] >= 5
    _, error = shell("fit", "--resume", str(run), code=2)
    assert len(error.strip().splitlines()) <= 3
    assert runs.newest(run) == newest


FEW = (
    "fit", "wgan_gp/digits", "trainer.max_steps=60", "checkpoint.every_n_steps=10",
    "track.wandb=off",
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of ``FEW`` that nothing disturbs."""
    shell = Shell(tmp_path_factory.mktemp("whole"))
    shell(*FEW)
    return shell.runs()[0]


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_signal_stops_behind_a_whole_checkpoint(
    shell: Shell, whole: Path, number: signal.Signals
) -> None:
    place = str(Path(__file__).parents[2])
    process = shell.start(*FEW, SLOW, PYTHONPATH=place)
    run = training(shell)
    process.send_signal(number)
    _, error = process.communicate(timeout=200)
    assert process.returncode == 128 + number, error
    assert "Traceback" not in error
    assert f"genlab fit --resume {run}" in error
    newest = runs.newest(run)
    assert newest is not None
    assert 10 <= checkpoints.read(newest)["global_step"] < 60
    shell("fit", "--resume", str(run), PYTHONPATH=place)
    ours, theirs = (checkpoints.read(r / "checkpoints" / "last.ckpt") for r in (run, whole))
    assert ours["global_step"] == theirs["global_step"] == 60
    for name, values in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], values), name


@pytest.mark.parametrize("file", ["x/genlab/.venv/site-packages/torch/nn.py", "x/train.py"])
def test_an_error_of_others_before_the_first_checkpoint_is_no_refusal(
    file: str, tmp_path: Path
) -> None:
    """Wherever their files lie: it keeps its traceback, the job is tried again."""
    lab: Any = SimpleNamespace(checkpoints=SimpleNamespace(newest=None))
    with pytest.raises(RuntimeError, match="no memory"), early_refusals(lab, tmp_path, new=True):
        exec(compile("raise RuntimeError('no memory')", str(tmp_path / file), "exec"))
    assert tmp_path.is_dir()


def test_a_run_that_was_stopped_before_its_test_ends_with_all_figures(shell: Shell) -> None:
    shell("fit", "vae/digits", "trainer.max_epochs=2", "track.wandb=off")
    (run,) = shell.runs()
    whole = runs.read_json(run / "metrics.json")
    (run / "metrics.json").unlink()
    shell("fit", "--resume", str(run))
    again = runs.read_json(run / "metrics.json")
    assert again.keys() == whole.keys()
    assert again["val/loss"] == pytest.approx(whole["val/loss"], rel=1e-6)


def test_a_look_at_the_lock_does_not_turn_a_start_away(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("a+") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        Timer(0.5, lambda: fcntl.flock(looking, fcntl.LOCK_UN)).start()
        runs.lock(tmp_path).close()


def steps_in(run: Path) -> list[int]:
    """The training steps in all parts of a run's offline W&B files, those told twice once."""
    found: set[int] = set()
    for file in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        for record in records(file):
            items = {"/".join(i.nested_key) or i.key: i.value_json for i in record.history.item}
            if "train/loss" in items:
                found.add(int(items["trainer/global_step"]))
    return sorted(found)


@pytest.mark.slow
def test_w_and_b_has_every_step_though_its_service_was_terminated_too(shell: Shell) -> None:
    """As Slurm does at a preemption: SIGTERM to all processes of the step."""
    place = str(Path(__file__).parents[2])
    process = shell.start(
        "fit", "vae/digits", "trainer.max_steps=200", "checkpoint.every_n_steps=10", SLOW,
        "trainer.log_every_n_steps=1", "trainer.max_epochs=100", WANDB_MODE="offline",
        PYTHONPATH=place,
    )  # fmt: skip
    run = training(shell)
    time.sleep(3)
    children = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    )
    for child in children.stdout.split():
        os.kill(int(child), signal.SIGTERM)
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=200)
    assert process.returncode == 143, error
    assert "W&B is lost" in error
    assert "Traceback" not in error
    before = steps_in(run)
    newest = runs.newest(run)
    assert newest is not None
    step = checkpoints.read(newest)["global_step"]
    assert before[0] == 0
    assert len(before) < step
    shell.anew("fit", "--resume", str(run), WANDB_MODE="offline", PYTHONPATH=place)
    assert steps_in(run) == list(range(200))
    assert runs.read_json(run / "run.json").get("wandb_kept") is None


def test_memory_that_does_not_suffice_ends_in_two_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs.make(tmp_path / "run")
    (run / "recipe.yaml").write_text("")
    lab: Any = SimpleNamespace(
        recipe=SimpleNamespace(name="a/b"), trainer=SimpleNamespace(global_step=7)
    )
    with pytest.raises(EarlyEnd) as end, faults(lab, run):
        torch.zeros(10**15)
    assert end.value.code == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("genlab: a/b stopped after step 7: can't allocate memory")
    assert f"genlab fit --resume {run}" in second


@pytest.mark.parametrize(
    ("what", "clip", "automatic", "advised"),
    [
        ("loss", None, True, True),
        ("gradient", None, True, False),  # NaN times a factor is NaN
        ("loss", 1.0, True, False),
        ("loss", None, False, False),  # which refuses it
    ],
)
def test_clipping_is_advised_where_it_can_help(
    tmp_path: Path, what: Any, clip: float | None, automatic: bool, advised: bool
) -> None:
    lab: Any = SimpleNamespace(
        tracking=SimpleNamespace(nonfinite="stop", nonfinite_limit=50),
        trainer=SimpleNamespace(gradient_clip_val=clip),
        model=SimpleNamespace(automatic_optimization=automatic),
    )
    said = endings._advice(lab, tmp_path, Failure(what, "nan", 3))
    assert said.startswith("begin again with a lower learning rate")
    assert ("trainer.gradient_clip_val=1" in said) == advised
