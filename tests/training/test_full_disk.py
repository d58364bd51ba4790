"""A disk that is full at any write of a run: what is kept, what is said, and how it goes on."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import torch

from genlab import checkpoints, runs
from tests.conftest import Here, Shell, give_back_memory
from tests.full_disk import FullDisk

FIT = (
    "fit", "vae/digits", "trainer.max_steps=6", "trainer.log_every_n_steps=2", "data.limit=120",
    "data.val_size=40", "data.batch_size=16", "trainer.max_epochs=9", "checkpoint.every_n_steps=2",
    "track.wandb=off", "seed_everything=3",
)  # fmt: skip


def go(words: tuple[str, ...], capture: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """A command in this process: its exit code, and what it says on standard error."""
    from genlab.cli import main

    capture.readouterr()
    with pytest.raises(SystemExit) as end:
        main(list(words))
    return int(end.value.code or 0), capture.readouterr().err


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of ``FIT`` that nothing disturbs."""
    shell = Shell(tmp_path_factory.mktemp("straight"))
    shell(*FIT)
    return shell.runs()[0]


def weights(run: Path) -> dict[str, torch.Tensor]:
    content = checkpoints.read(run / "checkpoints" / "last.ckpt")
    assert content["global_step"] == 6
    return dict(content["state_dict"])


def writes_of(folder: Path, capture: pytest.CaptureFixture[str]) -> list[str]:
    """Every write of the run that nothing disturbs."""
    disk = FullDisk(folder)
    with disk.mounted():
        code, said = go(FIT, capture)
    assert code == 0, said
    return disk.kinds


def check(k: int, stays: bool, kind: str, straight: Path, here: Here) -> None:
    """The k-th write fails: see the module's docstring."""
    disk = FullDisk(here.folder, k, stays)
    with disk.mounted():
        code, said = go(FIT, here.capture)
    if code == 0:  # a picture: one warning, and the run goes on
        assert "is not written: No space left" in said, (kind, said)
        (run,) = here.runs()
    else:
        assert code == 1, (kind, said)
        told = said[said.index("genlab: ") :].strip().splitlines()
        assert len(told) <= 2, (kind, said)
        assert "No space left on device" in told[0], (kind, said)
        assert "Traceback" not in said, (kind, said)
        found = here.runs()
        if not found:  # before it was a run
            assert not list((here.folder / "runs").glob("*/*/*")), kind
            return
        (run,) = found
        assert f"genlab fit --resume {run}" in told[1], (kind, said)
        newest = runs.newest(run)
        assert ("is kept" in told[1]) is (newest is not None), (kind, said)
        if newest is not None:
            assert str(newest) in told[1]
            assert checkpoints.read(newest)["global_step"] > 0
        code, said = go(("fit", "--resume", str(run)), here.capture)
        assert code == 0, (kind, said)
    assert not list(run.rglob("*.tmp")), kind
    ours, theirs = weights(run), weights(straight)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items()), kind
    assert trained(run) == trained(straight), kind
    assert (run / "metrics.json").is_file()


def trained(run: Path) -> list[dict[str, str]]:
    """The rows of training steps, but for the time they took."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["train/loss"]]
    return [{k: v for k, v in row.items() if "images_per" not in k} for row in rows]


def every(here: Here, straight: Path, start: int, stride: int) -> None:
    """Each write in turn: alone, or with all that follow, as on a disk that stays full."""
    kinds = writes_of(here.folder, here.capture)
    assert {kind.split()[0] for kind in kinds} == {"open", "write", "fsync", "replace"}
    for k in range(start, len(kinds) + 1, stride):
        shutil.rmtree(here.folder / "runs", ignore_errors=True)
        check(k, k % 2 == 0, f"{k}: {kinds[k - 1]}", straight, here)
        give_back_memory()


def test_a_write_that_fails_leaves_a_run_that_goes_on(here: Here, straight: Path) -> None:
    every(here, straight, 2, 61)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_any_write_may_fail(here: Here, straight: Path) -> None:
    every(here, straight, 1, 1)
