"""What happens in mid-training that is nobody's wish, and what is left of the run."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from genlab import checkpoints, runs
from tests.conftest import Shell
from tests.fake_data import write_pictures

SLOW = "trainer.callbacks+=[{class_path: tests.slurm.programs.Slow, init_args: {seconds: 0.05}}]"


def training(shell: Shell) -> Path:
    """The run directory of a training that has written a checkpoint in mid-training."""
    end = time.monotonic() + 200
    while not (found := shell.runs()) or runs.newest(found[0]) is None:
        assert time.monotonic() < end
        time.sleep(0.2)
    return found[0]


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
