"""The test bed as a user of ``genlab submit`` sees it."""

from __future__ import annotations

import csv
import subprocess
from pathlib import Path

import pytest

from genlab.cli import run
from tests.slurm.testbed import missing, wait

PATIENCE = 4  # on a machine that has nothing else to do, 1 is enough
MARKS = [
    pytest.mark.slurm,
    pytest.mark.skipif(bool(missing()), reason=missing() or "Slurm is here"),
    pytest.mark.timeout(500 * PATIENCE),
]
ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL")


class Cluster:
    """The test bed as a user of ``genlab submit`` sees it."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder, self.environment = folder, environment

    def said(self, *words: str) -> str:
        """Output of one of Slurm's commands."""
        return subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()

    def submit(self, *words: str) -> str:
        """``genlab submit`` in this process; returns the job's number."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.folder)
            for name, value in self.environment.items():
                patch.setenv(name, value)
            assert run(["submit", "--cpus-per-task", "1", *words]) == 0
        return max(self.said("squeue", "-h", "-t", "all", "-o", "%F").split(), key=int)

    def state(self, job: str) -> str:
        """A job's state, of a finished one too."""
        return self.said("squeue", "-h", "-t", "all", "-j", job, "-o", "%T")

    def restarts(self, job: str) -> int:
        """How often a job was requeued."""
        words = self.said("scontrol", "show", "job", "-o", job).split()
        return int(next(w for w in words if w.startswith("Restarts=")).partition("=")[2])

    def runs_anew(self, job: str, restarts: int) -> bool:
        """Whether it runs after more restarts than that, its last processes gone."""
        return self.restarts(job) > restarts and self.state(job) == "RUNNING"

    def end(self, job: str, seconds: float = 200 * PATIENCE) -> str:
        """The state in which a job ends."""
        wait(lambda: self.state(job).split()[0] in ENDED, seconds, f"end of job {job}")
        return self.state(job)

    def run_of(self, job: str) -> Path:
        """A job's run directory."""
        return next((self.folder / "runs").glob(f"*/*/slurm-{job}"))

    def log(self, job: str) -> str:
        """What a job has printed."""
        return next((self.folder / "runs").glob(f"*/*/slurm-{job}.log")).read_text()

    def step(self, job: str) -> int:
        """The last step in a job's metrics.csv."""
        rows = steps(self.folder, job)
        return rows[-1] if rows else -1

    def pid(self, job: str, rank: int) -> int:
        """The process of one rank."""
        mine = {f"SLURM_JOB_ID={job}", f"SLURM_PROCID={rank}", "SLURM_STEP_ID=0",
                f"SLURM_CONF={self.environment['SLURM_CONF']}"}  # fmt: skip
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = set((folder / "environ").read_text(errors="replace").split("\0"))
                command = (folder / "cmdline").read_text()
            except OSError:
                continue
            if mine <= words and "-m\0genlab" in command:
                return int(folder.name)
        raise AssertionError(f"no process of rank {rank} of job {job}")


def steps(folder: Path, job: str) -> list[int]:
    """The steps in metrics.csv that have a training loss, in the file's order."""
    files = list((folder / "runs").glob(f"*/*/slurm-{job}/metrics.csv"))
    if not files:
        return []
    with files[0].open() as file:
        rows = [row for row in csv.DictReader(file) if row.get("train/loss")]
    return [int(row["step"]) for row in rows if row["step"].isdigit()]
