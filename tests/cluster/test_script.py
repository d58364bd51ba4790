"""``slurm/train.sbatch`` between commands that only look like Slurm's."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from genlab.cluster import slurm
from tests.cluster.conftest import Programs

JOB = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "localhost", "SLURM_CPUS_PER_TASK": "3"}
ARRAY = {"SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "2"}


@pytest.fixture
def script(programs: Programs) -> Script:
    return Script(programs)


class Script:
    """The job script in a folder of its own."""

    def __init__(self, programs: Programs) -> None:
        self.programs, self.folder = programs, programs.folder.parent
        programs.write("getent")

    def __call__(self, srun: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Runs it with ``srun`` as the body of that command."""
        self.programs.write("srun", srun)
        own = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "GENLAB"))}
        return subprocess.run(
            ["bash", slurm.script(), "vae/digits"], env=own | JOB | environment, cwd=self.folder,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def file(self, name: str = "7") -> Path:
        """Its file of failures."""
        return self.folder / f".genlab-{name}.failures"


def test_a_failure_is_tried_again_twice(script: Script) -> None:
    codes = [script("exit 3").returncode for _ in range(3)]
    assert codes == [3, 3, 3]
    assert script.programs.requeued == ["7"] * 2
    assert not script.file().exists()


def test_one_task_of_an_array_asks_for_its_own_state(script: Script) -> None:
    script.programs.write(
        "squeue", 'echo RUNNING; case "$*" in *--jobs=5_2*) ;; *) echo PENDING ;; esac'
    )
    script("exit 3", **ARRAY)
    assert script.programs.requeued == ["5_2"]


def test_a_requeued_start_keeps_its_count_and_a_finished_one_does_not(script: Script) -> None:
    script.programs.write("squeue", "echo COMPLETING")
    assert script('echo "too slow" >> "$GENLAB_FAILURES"').returncode == 0
    assert script.file().read_text() == "too slow\n"
    script.programs.write("squeue", "echo RUNNING")
    assert script("exit 0").returncode == 0
    assert not script.file().exists()


def test_what_was_refused_is_not_tried_again(script: Script) -> None:
    assert script('echo refused > "$GENLAB_FAILURES"; exit 2').returncode == 2
    assert script.programs.requeued == []
    assert not script.file().exists()


def test_a_step_that_is_not_finite_is_not_tried_again(script: Script) -> None:
    assert script('echo failed > "$GENLAB_FAILURES"; exit 1').returncode == 1
    assert script.programs.requeued == []
    assert not script.file().exists()


def test_a_job_that_slurm_is_ending_is_left_alone(script: Script) -> None:
    script.programs.write("squeue", "echo COMPLETING")
    assert script("exit 143").returncode == 143
    assert script.programs.requeued == []


def test_srun_gets_what_sites_forget(script: Script) -> None:
    script("exit 0")
    (words,) = script.programs.said("srun")
    assert "--kill-on-bad-exit=1 --wait=0 --export=ALL --cpus-per-task=3 env " in words
    assert words.endswith(" -m genlab fit vae/digits")
    script("exit 0", SLURM_CPUS_PER_TASK="")
    assert "--cpus-per-task" not in script.programs.said("srun")[1]


@pytest.mark.parametrize(
    ("node", "address"), [("NodeName=n NodeAddr=10.0.0.3 State=IDLE", "10.0.0.3"), ("", "unset")]
)
def test_a_node_without_a_name_is_found_by_its_address_if_it_has_one(
    script: Script, node: str, address: str
) -> None:
    script.programs.write("getent", "exit 2")
    script.programs.write("scontrol", f'[ "$2" = hostnames ] && echo n || echo "{node}"')
    done = script("echo address ${MASTER_ADDR-unset}")
    assert f"address {address}\n" in done.stdout


BLOCKED = """
while [[ $1 == --* ]]; do shift; done
"$@"
"""
SAY = "import signal; print(*sorted(s.name for s in signal.pthread_sigmask(signal.SIG_BLOCK, ())))"


@pytest.mark.parametrize("old", [False, True])
def test_training_starts_with_both_signals_blocked(script: Script, old: bool) -> None:
    if old:  # coreutils before 8.31
        script.programs.write(
            "env", 'case $1 in --block*) exit 125 ;; esac; exec /usr/bin/env "$@"'
        )
    python = shlex.quote(sys.executable)
    script.programs.write(
        "python", f'[ "$1" = -m ] && exec {python} -c "{SAY}" || exec {python} "$@"'
    )
    assert script(BLOCKED).stdout == "SIGTERM SIGUSR1\n"


@pytest.mark.parametrize(("state", "requeued"), [("RUNNING", ["7"]), ("COMPLETING", [])])
def test_the_script_requeues_for_a_container(
    script: Script, state: str, requeued: list[str]
) -> None:
    script.programs.write("squeue", f"echo {state}")
    orders = 'echo "time limit" >> "$GENLAB_FAILURES"; echo requeue >> "$GENLAB_FAILURES"; exit 1'
    assert script(orders).returncode == 0
    assert script.programs.requeued == requeued
    assert script.file().read_text() == "time limit\n"
    script.file().unlink()
    assert script('echo requeue >> "$GENLAB_FAILURES"').returncode == 0
    assert not script.file().exists()
