"""Which directory a run gets, and who owns it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from genlab import process, runs
from genlab.errors import DiskError, RunError
from tests.full_disk import FullDisk

LAUNCHERS = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK", "SLURM_JOB_ID", "SLURM_STEP_ID",
             "SLURM_ARRAY_JOB_ID", "TORCHELASTIC_RUN_ID", "ENVIRONMENT",
             runs.RUN_VARIABLE)  # fmt: skip


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)


def directory(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Path:
    with monkeypatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        found = runs.directory("runs", "vae/mnist")
    monkeypatch.delenv(runs.RUN_VARIABLE, raising=False)
    return found


def test_two_runs_never_share_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert directory(monkeypatch) != directory(monkeypatch)


@pytest.mark.parametrize(
    "launch",
    [
        {"SLURM_JOB_ID": "7", "ENVIRONMENT": "BATCH"},
        {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "2"},
        {
            "SLURM_ARRAY_JOB_ID": "7",
            "SLURM_ARRAY_TASK_ID": "3",
            "SLURM_JOB_ID": "9",
            "SLURM_STEP_ID": "0",
        },
        {"TORCHELASTIC_RUN_ID": "mine"},
        {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"},
    ],
)
def test_all_processes_of_a_launch_share_one(
    monkeypatch: pytest.MonkeyPatch, launch: dict[str, str]
) -> None:
    found = {directory(monkeypatch, **launch, RANK=str(rank)) for rank in range(3)}
    assert len(found) == 1


def test_a_launched_child_uses_its_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    child = {runs.RUN_VARIABLE: "/runs/x", "LOCAL_RANK": "1"}
    assert directory(monkeypatch, **child) == Path("/runs/x")
    stale = {runs.RUN_VARIABLE: "/runs/x"}
    assert directory(monkeypatch, **stale) != Path("/runs/x")


def test_torchrun_on_several_nodes_needs_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
    with pytest.raises(RunError, match="rdzv-id"):
        directory(monkeypatch, **launch)


@pytest.mark.parametrize(
    ("environment", "owner"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1"}, False),
        ({"RANK": "2", "LOCAL_RANK": "0"}, False),
        ({"SLURM_PROCID": "1", "SLURM_LOCALID": "0"}, False),
    ],
)
def test_only_rank_zero_owns_the_directory(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], owner: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert process.is_first() is owner


def test_a_locked_run_says_by_whom(tmp_path: Path) -> None:
    with runs.lock(tmp_path), pytest.raises(RunError, match="process"):
        runs.lock(tmp_path)
    runs.lock(tmp_path).close()


def test_half_written_files_are_swept(tmp_path: Path) -> None:
    runs.make(tmp_path)
    (tmp_path / "checkpoints" / ".last.ckpt.123.tmp").write_text("half")
    (tmp_path / "checkpoints" / "last.ckpt").write_text("whole")
    runs.sweep(tmp_path)
    assert [p.name for p in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]


def test_an_empty_name_of_a_run_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    found = directory(monkeypatch, GENLAB_RUN_ID="")
    assert found.parent.name == "mnist"
    assert directory(monkeypatch, GENLAB_RUN_ID="mine").name == "mine"


def test_a_place_that_cannot_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunError, match="cannot write the run directory"):
        runs.make(tmp_path / "runs" / "a" / "b" / "c")
    disk = FullDisk(tmp_path, fails=1)
    with disk.mounted(), pytest.raises(DiskError, match="No space left"):
        runs.make(tmp_path / "others" / "a" / "b")
    assert os.listdir(tmp_path) == ["runs"]
