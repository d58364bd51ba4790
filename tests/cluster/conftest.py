"""Commands that only look like Slurm's."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from genlab.cluster import slurm

STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "genlab",
    "SLURM_NTASKS": "1",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "1",
    "SLURM_PROCID": "0",
}


class Programs:
    """A folder of commands before all others on the PATH; each notes the words it has got."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.failures = folder.parent / "failures"

    def write(self, name: str, script: str = "") -> None:
        """A command that adds a line to ``<name>.words`` and goes on with ``script``."""
        file = self.folder / name
        file.write_text(f'#!/bin/bash\necho "$*" >> {self.folder}/{name}.words\n{script}\n')
        file.chmod(0o755)

    def said(self, name: str) -> list[str]:
        """The words of every call so far."""
        file = self.folder / f"{name}.words"
        return file.read_text().splitlines() if file.exists() else []

    @property
    def requeued(self) -> list[str]:
        """The jobs that ``scontrol`` was told to requeue."""
        return [words.split()[1] for words in self.said("scontrol") if words.startswith("requeue")]


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    found = Programs(folder)
    found.write("squeue", "echo RUNNING")
    found.write("scontrol")
    return found


class Exit(BaseException):
    """What ``os._exit`` becomes."""


@pytest.fixture
def job(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """This process as the only rank of a job; ``os._exit`` raises `Exit`, and nothing waits."""
    for name in os.environ:
        if name.startswith("SLURM_"):
            monkeypatch.delenv(name)
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("GENLAB_FAILURES", str(programs.failures))
    slurm._progressed.clear()
    slurm._deadlines.clear()
    monkeypatch.setattr("time.sleep", lambda seconds: None)

    def leave(code: int) -> None:
        raise Exit(code)

    monkeypatch.setattr(os, "_exit", leave)
    return programs


def code(number: signal.Signals) -> int | None:
    """The exit code of a start that is signalled before training; None when it goes on."""
    try:
        slurm.go_back(number)
    except Exit as end:
        return int(end.args[0])
    return None
