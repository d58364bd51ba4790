"""What a signal makes of a job: requeued, left to Slurm, or given up."""

from __future__ import annotations

from pathlib import Path
from signal import SIGTERM, SIGUSR1

import pytest

from genlab.cluster import slurm
from genlab.errors import SlurmError
from genlab.training.engine.safe_requeue import Stopped
from tests.cluster.conftest import STEP, Programs, code
from tests.conftest import Shell
from tests.slurm.testbed import wait


def test_starts_slower_than_their_time_limit_are_given_up(
    job: Programs, capfd: pytest.CaptureFixture[str]
) -> None:
    assert [code(SIGUSR1) for _ in range(3)] == [0, 0, 2]
    assert job.requeued == ["7"] * 2
    assert job.failures.read_text() == "refused\n"
    *_, last = capfd.readouterr().err.splitlines()
    assert last == (
        "genlab: 3 starts ended before a new checkpoint: give more --time or less --warn"
    )


def test_slurms_own_sigterm_is_no_failure(job: Programs) -> None:
    assert [code(SIGTERM) for _ in range(5)] == [0] * 5
    assert not job.failures.exists()


def test_stops_without_a_new_checkpoint_are_counted_and_others_are_not(job: Programs) -> None:
    for _ in range(2):
        assert Stopped(0, 2).settle() == "requeued job 7"
    with pytest.raises(SlurmError, match="3 starts ended before a new checkpoint"):
        Stopped(0, 2).settle()
    assert slurm.note_failure("again") == 4
    slurm.note_progress()
    assert not job.failures.exists()
    for _ in range(5):
        assert Stopped(9, 2).settle() == "requeued job 7"
    assert slurm.note_failure("again") == 0
    assert not job.failures.exists()


@pytest.mark.parametrize(
    ("state", "number", "requeued"),
    [
        ("RUNNING", SIGUSR1, True),
        ("RUNNING", SIGTERM, True),  # the grace time of a preemption
        ("SIGNALING", SIGTERM, True),
        ("COMPLETING", SIGUSR1, False),  # cancelled after the warning: it must not come back
        ("CANCELLED", SIGUSR1, False),
        ("COMPLETING", SIGTERM, False),
    ],
)
def test_a_job_that_slurm_is_ending_is_not_requeued(
    job: Programs, state: str, number: int, requeued: bool
) -> None:
    job.write("squeue", f"echo {state}")
    said = Stopped(3, 1 if number == SIGTERM else 2).settle()
    assert said == ("requeued job 7" if requeued else f"Slurm has job 7 as {state}")
    assert code(SIGTERM if number == SIGTERM else SIGUSR1) == 0
    assert job.requeued == ["7"] * (2 if requeued else 0)


def test_a_busy_controller_is_asked_three_times(job: Programs) -> None:
    job.write("squeue", f"[ $(wc -l < {job.folder}/squeue.words) -ge 3 ] && echo RUNNING || exit 1")
    assert slurm.state("7") == "RUNNING"


def test_a_sigterm_that_nobody_explains_is_no_success(job: Programs) -> None:
    job.write("squeue", "exit 1")
    assert code(SIGTERM) == 143
    assert len(job.said("squeue")) == 3
    stop = Stopped(3, 1)
    assert "does not say" in stop.settle()
    assert stop.exit_code == 143
    assert job.requeued == []


def test_a_time_limit_that_nobody_denies_is_one(job: Programs) -> None:
    job.write("squeue", "exit 1")
    stop = Stopped(3, 2)
    assert stop.settle() == "requeued job 7"
    assert stop.exit_code == 0


def test_a_training_that_does_not_stop_is_requeued_before_its_limit(
    programs: Programs, shell: Shell
) -> None:
    process = shell.start(
        "fit", "vae/digits", "track.wandb=off",
        "trainer.callbacks+=[{class_path: tests.cluster.programs.Hang}]",
        **STEP, GENLAB_WARN="2", GENLAB_FAILURES=str(programs.failures),
        PYTHONPATH=str(Path(__file__).parents[2]),
    )  # fmt: skip
    try:
        wait((shell.folder / "hanging").exists, 200, "validation")
        process.send_signal(SIGUSR1)
        wait(lambda: programs.requeued == ["7"], 60, "requeue")
        assert process.poll() is None
    finally:
        process.kill()
        process.communicate()


def test_a_training_that_stops_in_time_is_requeued_once(
    job: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLAB_WARN", "0.4")
    slurm.guard(SIGTERM)
    assert not slurm._deadlines
    slurm.guard(SIGUSR1)
    (deadline,) = slurm._deadlines
    Stopped(3, 2).settle()
    deadline.join()
    assert job.requeued == ["7"]


def test_the_last_deadline_tells_the_script_to_give_up(
    job: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLAB_WARN", "0")
    job.failures.write_text("slow\nslow\n")
    slurm.guard(SIGUSR1)
    slurm._deadlines[0].join()
    assert job.requeued == []
    assert job.failures.read_text() == "refused\n"


def test_a_container_without_slurms_commands_asks_the_script(
    job: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(job.folder.parent))
    assert Stopped(0, 2).settle() == "requeued job 7"
    first, second = job.failures.read_text().splitlines()
    assert (first.split(maxsplit=1)[1], second) == ("time limit", "requeue")
    job.failures.unlink()
    assert code(SIGUSR1) == 1  # srun ends the other ranks
    job.failures.unlink()
    assert code(SIGTERM) == 143
    assert not job.failures.exists()


def test_a_missing_command_is_said_once(job: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(job.folder.parent))
    monkeypatch.delenv("GENLAB_FAILURES")
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    with pytest.raises(SlurmError, match="no scontrol on the PATH: inside job 7, a container"):
        Stopped(3, 2).settle()
    assert pauses == []
