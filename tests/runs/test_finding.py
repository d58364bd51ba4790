"""Runs by their names, while another process removes some."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from genlab import runs
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
