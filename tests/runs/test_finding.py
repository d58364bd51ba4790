"""Runs by their names, while another process removes some."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from genlab import runs
from genlab.errors import RunError
from genlab.runs import checkpoint_files, finding
from tests.run_folders import write_run


def test_a_run_that_another_process_removes_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "runs"
    kept, gone = (write_run(root / "vae/digits" / n, seed=0, lr=1, value=1) for n in "ab")
    found = list(finding.walk(root))
    shutil.rmtree(gone)
    monkeypatch.setattr(finding, "walk", lambda root: iter(found))
    assert runs.every(root) == [kept]
    assert runs.find("vae/digits", root) == kept


def test_a_checkpoint_that_another_process_removes_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "step=1.ckpt").touch()

    def removing(file: Path) -> int:
        file.unlink()
        return 1

    monkeypatch.setattr(checkpoint_files, "step_of", removing)
    assert runs.checkpoints(tmp_path) == []


def test_a_run_is_found_by_recipe_and_id_and_a_methods_name_is_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    old, new = (write_run(Path("runs/vae/digits") / n, seed=0, lr=1, value=1) for n in "ab")
    for run in (old, new):
        (run / "checkpoints").mkdir(exist_ok=True)
        torch.save({}, run / "checkpoints" / "last.ckpt")
    assert runs.find("vae/digits/a") == old
    assert runs.checkpoint("vae/digits/a") == old / "checkpoints" / "last.ckpt"
    assert runs.checkpoint("a").parents[1] == old
    with pytest.raises(RunError, match="did you mean vae"):
        runs.find("vea")


def test_the_newest_run_of_a_folder_of_runs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("vae/digits/old", "vae/digits/new", "gan/digits/newest"):
        write_run(Path("runs") / name, seed=0, lr=1, value=1)
    for word in ("runs/vae/digits", "runs/vae"):
        with pytest.raises(
            RunError, match=r"is a folder of runs.*newest in it is runs/vae/digits/new"
        ):
            runs.find(word)
    Path("runs").rename("kept")
    with pytest.raises(RunError, match="newest in it is kept/vae/digits/new"):
        runs.find("kept/vae/digits")
