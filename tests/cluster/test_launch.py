from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lightning.pytorch.plugins.environments import LightningEnvironment, SLURMEnvironment

from genlab import process
from genlab.cluster import launch, slurm
from genlab.errors import SlurmError

STEP = {
    "SLURM_JOB_ID": "7",
    "SLURM_JOB_NAME": "genlab",
    "SLURM_NTASKS": "4",
    "SLURM_STEP_ID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "2(x2)",
    "SLURM_PROCID": "3",
}


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith(("SLURM_", "TORCHELASTIC")) or name in ("RANK", "LOCAL_RANK"):
            monkeypatch.delenv(name)


def enter(patch: pytest.MonkeyPatch, **changed: str | None) -> None:
    for name, value in (STEP | changed).items():
        if value is None:
            patch.delenv(name, raising=False)
        else:
            patch.setenv(name, value)


def test_task_counts() -> None:
    assert launch.task_counts("2(x3),1") == [2, 2, 2, 1]
    assert launch.task_counts("1") == [1]
    with pytest.raises(SlurmError, match="not a list"):
        launch.task_counts("two")


def test_devices_and_nodes_come_from_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch)
    launch.check()
    trainer = {"devices": "auto", "max_epochs": 3}
    before = launch.arrange(trainer, *launch.shape())
    assert trainer == {"devices": 2, "num_nodes": 2, "max_epochs": 3}
    assert trainer | before == {"devices": "auto", "num_nodes": 1, "max_epochs": 3}
    launch.arrange({"devices": 2, "num_nodes": 2}, *launch.shape())
    (plugin,) = launch.plugins()
    assert isinstance(plugin, SLURMEnvironment)
    assert not plugin.auto_requeue
    assert (plugin.world_size(), plugin.global_rank()) == (4, 3)


@pytest.mark.parametrize(("key", "value"), [("devices", 4), ("num_nodes", 3)])
def test_numbers_that_disagree_with_the_job_are_refused(key: str, value: int) -> None:
    with pytest.raises(SlurmError, match=f"trainer.{key} is {value}, but the job has 2"):
        launch.arrange({key: value}, 2, 2)


def test_launches_that_would_hang_or_train_twice_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    enter(monkeypatch, SLURM_STEP_TASKS_PER_NODE="2,1")
    with pytest.raises(SlurmError, match="nodes disagree: 2, 1"):
        launch.check()
    enter(monkeypatch, SLURM_JOB_NAME="bash")
    with pytest.raises(SlurmError, match="named bash"):
        launch.check()
    for step in (None, str(0xFFFFFFFB), "4294967290"):  # batch script, extern, interactive
        enter(monkeypatch, SLURM_STEP_ID=step, SLURM_PROCID="0")
        with pytest.raises(SlurmError, match="without srun"):
            launch.check()


def test_a_lone_task_may_start_processes_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch, SLURM_NTASKS="1", SLURM_STEP_TASKS_PER_NODE="1", SLURM_JOB_NAME="bash",
          SLURM_PROCID="0")  # fmt: skip
    launch.check()
    trainer = {"devices": 2}
    assert launch.arrange(trainer, *launch.shape()) == {}
    assert trainer == {"devices": 2}
    assert isinstance(launch.plugins()[0], LightningEnvironment)
    assert process.is_first()
    monkeypatch.setenv("LOCAL_RANK", "1")  # the second of them inherits SLURM_PROCID=0
    assert not process.is_first()


def test_torchrun_inside_a_job_is_torchruns_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch, SLURM_STEP_ID=None, TORCHELASTIC_RUN_ID="x")
    launch.check()
    assert launch.plugins() == []


@pytest.mark.parametrize(
    ("around", "belongs"),
    [
        ({"SLURM_STEP_ID": "0"}, True),
        ({"ENVIRONMENT": "BATCH"}, True),
        ({"ENVIRONMENT": "BATCH", "JPY_PARENT_PID": "1"}, False),  # a notebook
        ({"SLURM_STEP_ID": "4294967290"}, False),  # salloc's shell, where it is a step
        ({}, False),
    ],
)
def test_a_shell_inside_a_job_is_a_terminal_like_any_other(
    monkeypatch: pytest.MonkeyPatch, around: dict[str, str], belongs: bool
) -> None:
    for name in ("ENVIRONMENT", "JPY_PARENT_PID", process.ID_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1"} | around).items():
        monkeypatch.setenv(name, value)
    assert slurm.inside() == belongs
    assert (process.new_id() == "slurm-7") == belongs
    assert (process.new_id() == process.new_id()) == belongs
    assert isinstance(launch.plugins()[0], LightningEnvironment)  # Lightning sees SLURM_NTASKS


def test_an_array_task_is_not_its_array(monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch)
    assert slurm.job() == "7"
    enter(monkeypatch, SLURM_ARRAY_JOB_ID="5", SLURM_ARRAY_TASK_ID="2")
    assert slurm.job() == "5_2"


def test_tasks_per_node_are_the_steps_not_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    enter(monkeypatch, SLURM_NTASKS_PER_NODE="8")  # as srun keeps it: sbatch --ntasks-per-node=8
    launch.plugins()
    assert os.environ["SLURM_NTASKS_PER_NODE"] == "2"


SIGNALLED = """
import os, signal, time
from genlab.cluster import signals
early = []
signals.watch(early.append)
os.kill(os.getpid(), signal.SIGUSR1)
time.sleep(0.5)
assert early == [signal.SIGUSR1] and signals.raised() == 2
signals._raised.clear(), signals._listening.set(), time.sleep(0.3)
os.kill(os.getpid(), signal.SIGTERM)  # would end this process
assert signals.raised() == 0
signals.listen()
assert signals.raised() == 1
os.kill(os.getpid(), signal.SIGUSR1)
assert signals.raised() == 2
child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGTERM)
    os._exit(0 if signal.SIGTERM in signal.sigpending() else 1)
assert os.waitpid(child, 0)[1] == 0
"""


def test_signals_wait_raise_a_flag_and_are_not_for_children() -> None:
    subprocess.run([sys.executable, "-c", SIGNALLED], check=True, timeout=60)


TAKEN_OVER = """
import os, signal, threading
from genlab.cluster import signals
early, heard, told = [], [], threading.Event()
signals.watch(early.append)
signals.listen(at_once=lambda number: (heard.append(number), told.set()))
assert not signals._watcher.is_alive()  # else it would take the next signal
os.kill(os.getpid(), signal.SIGUSR1)
assert told.wait(30)
assert (early, heard, signals.raised()) == ([], [signal.SIGUSR1], 2)
"""


def test_from_listening_on_nobody_else_takes_a_signal() -> None:
    subprocess.run([sys.executable, "-c", TAKEN_OVER], check=True, timeout=60)


def test_a_refused_input_is_noted_for_the_job_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENLAB_FAILURES", str(tmp_path / "failures"))
    slurm.note_refusal()
    assert not (tmp_path / "failures").exists()  # outside a job
    enter(monkeypatch)
    slurm.note_refusal()
    assert (tmp_path / "failures").read_text() == "refused\n"
    slurm.note_failed()
    assert (tmp_path / "failures").read_text() == "failed\n"
