"""What happens in mid-training that is nobody's wish, and what is left of the run."""

from __future__ import annotations

import shutil
import signal
import time
from pathlib import Path

import pytest
import torch

from genlab import checkpoints, runs
from tests.conftest import Shell
from tests.fake_data import write_pictures

SLOW = "trainer.callbacks+=[{class_path: tests.programs.Slow, init_args: {seconds: 0.05}}]"


def training(shell: Shell, besides: Path | None = None) -> Path:
    """The run directory of a training that has written a checkpoint in mid-training."""
    end = time.monotonic() + 200
    while True:
        for found in shell.runs():
            if found != besides and runs.newest(found) is not None:
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_behind_a_whole_checkpoint(shell: Shell, number: signal.Signals) -> None:
    few = (
        "fit", "wgan_gp/digits", "trainer.max_steps=60", "checkpoint.every_n_steps=10", SLOW,
        "track.wandb=off",
    )  # fmt: skip
    place = str(Path(__file__).parents[2])
    shell(*few, PYTHONPATH=place)
    (whole,) = shell.runs()
    process = shell.start(*few, PYTHONPATH=place)
    run = training(shell, besides=whole)
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
