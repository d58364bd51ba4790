"""Trainings on a real Slurm: queued, disturbed in every way, and equal to undisturbed ones."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from genlab import checkpoints, runs
from tests.conftest import Here, Shell
from tests.slurm.cluster import MARKS, PATIENCE, Cluster, steps
from tests.slurm.testbed import wait

pytestmark = MARKS
OFF = "track.wandb=off"
SLOW = "trainer.callbacks+=[{class_path: tests.programs.Slow, init_args: {seconds: %s}}]"
FAIL = "trainer.callbacks+=[{class_path: tests.programs.Fail, init_args: {step: %s}}]"


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoints.read(run / "checkpoints" / "last.ckpt")["state_dict"]


def assert_equal(a: Path, b: Path) -> None:
    for key, value in weights(a).items():
        assert torch.equal(value, weights(b)[key]), key


LIMITED_STEPS = 420
SIGNALS = int(os.environ.get("GENLAB_SIGNALS", "3"))  # how often a job is told that its time is up


@pytest.fixture(scope="session")
def limited(cluster: Cluster) -> str:
    """A job of nearly three minutes in a partition's one minute; runs beside the other tests."""
    return cluster.submit(
        "simclr/digits", "--sbatch=--time=1", "--warn", "5", "track.wandb=offline", SLOW % 0.3,
        f"trainer.max_steps={LIMITED_STEPS}", "trainer.log_every_n_steps=1",
        "trainer.check_val_every_n_epoch=1000", "trainer.max_epochs=1000",
    )  # fmt: skip


def test_shapes_of_a_job_give_the_weights_of_two_local_processes(
    cluster: Cluster, tmp_path: Path
) -> None:
    few = ("trainer.max_steps=45", OFF)
    queued = {
        "2 nodes x 1": cluster.submit("vae/digits", *few, "--nodes", "2", "--time", "9"),
        "1 node x 2": cluster.submit("vae/digits", *few, "--tasks-per-node", "2", "--time", "9"),
        "simclr": cluster.submit("simclr/digits", *few, "--nodes", "2", "--time", "9"),
    }
    shell = Shell(tmp_path)
    for recipe in ("vae/digits", "simclr/digits"):
        shell("fit", recipe, *few, "trainer.accelerator=cpu", "trainer.devices=2")
    simclr, vae = shell.runs()
    for name, job in queued.items():
        assert cluster.end(job) == "COMPLETED", cluster.log(job)
        assert_equal(cluster.run_of(job), simclr if name == "simclr" else vae)
        assert "x 2 devices" in cluster.log(job)
        facts = json.loads((cluster.run_of(job) / "run.json").read_text())
        assert facts["slurm"]["SLURM_JOB_ID"] == job
        assert facts["world_size"] == 2


def test_a_disturbed_job_ends_with_the_weights_of_an_undisturbed_one(
    cluster: Cluster,
) -> None:
    words = ("vae/digits", "--nodes", "2", "--time", "20", "trainer.max_steps=2500", OFF,
             "trainer.max_epochs=1000", "trainer.log_every_n_steps=10")  # fmt: skip
    job, moments = cluster.submit(*words), random.Random(time.time_ns())
    wait(lambda: cluster.state(job) == "RUNNING", 60, "start")
    time.sleep(1)
    cluster.said("scancel", "--signal=USR1", job)  # while Python imports
    restarts = 0
    for disturb in (*("USR1",) * SIGNALS, "requeue", "kill", "preempt"):
        wait(lambda: cluster.runs_anew(job, restarts), 90 * PATIENCE, "restart")  # noqa: B023
        restarts, step = cluster.restarts(job), cluster.step(job)
        wait(lambda: cluster.step(job) > step, 90 * PATIENCE, f"step after {step}")  # noqa: B023
        time.sleep(moments.uniform(0, 0.3))
        if disturb == "USR1":
            cluster.said("scancel", "--signal=USR1", job)
        elif disturb == "requeue":
            cluster.said("scontrol", "requeue", job)
        elif disturb == "kill":
            os.kill(cluster.pid(job, moments.randrange(2)), signal.SIGKILL)
        else:
            cluster.said("sbatch", "-p", "urgent", "-N2", "--ntasks-per-node=1", "-c4", "-o",
                         "/dev/null", "--wrap", "sleep 1")  # fmt: skip
    assert cluster.end(job) == "COMPLETED", cluster.log(job)
    assert cluster.restarts(job) >= SIGNALS + 4
    straight = cluster.submit(*words)
    assert cluster.end(straight) == "COMPLETED"
    assert_equal(cluster.run_of(job), cluster.run_of(straight))
    assert (cluster.run_of(job) / "metrics.json").is_file()
    left = [p.name for p in (*cluster.folder.iterdir(), *cluster.run_of(job).glob("**/*"))]
    assert not [name for name in left if "hpc_ckpt" in name or name.endswith(("tmp", "failures"))]


def test_a_class_of_the_users_own_survives_a_requeue_without_a_plugin(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (cluster.folder / "requeued.py").write_text(
        "from genlab.methods import VAE\nclass Mine(VAE): pass\n"
    )
    job = cluster.submit("vae/digits", "model=requeued.Mine", "--time", "9", OFF, SLOW % 0.05,
                         "trainer.max_steps=300", "checkpoint.every_n_steps=5")  # fmt: skip
    wait(lambda: cluster.step(job) > 0, 90 * PATIENCE, "training")
    cluster.said("scontrol", "requeue", job)
    wait(lambda: cluster.runs_anew(job, 0), 90 * PATIENCE, "restart")
    assert cluster.end(job) == "COMPLETED", cluster.log(job)
    assert "continuing" in cluster.log(job)
    kept = json.loads((cluster.run_of(job) / "trust.json").read_text())["names"]
    assert kept == ["requeued.Mine", "tests.programs.Slow"]
    assert (cluster.run_of(job) / "metrics.json").is_file()


def test_a_program_that_always_fails_at_a_step_is_tried_three_times(
    cluster: Cluster, limited: str
) -> None:
    job = cluster.submit("vae/digits", "--time", "9", FAIL % 30, "trainer.max_steps=60", OFF)
    assert cluster.end(job) == "FAILED"
    assert cluster.restarts(job) == 2
    assert cluster.log(job).count("Error: this program is wrong") == 3
    assert "failed 3 times without a new checkpoint" in cluster.log(job)


def test_an_array_trains_a_run_for_each_seed_and_cancel_saves(
    cluster: Cluster, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    array = cluster.submit("vae/digits", "--time", "9", "--array-of-seeds", "3-4", OFF, SLOW % 0.1)
    monkeypatch.chdir(cluster.folder)
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    tasks = [f"{array}_3", f"{array}_4"]
    for task in tasks:
        wait(lambda: cluster.step(task) > 0, 90 * PATIENCE, f"training of {task}")  # noqa: B023
    shown = {row["job"]: row for row in json.loads(here("jobs", "--json")[0])}
    for seed, task in zip((3, 4), tasks, strict=True):
        assert json.loads((cluster.run_of(task) / "run.json").read_text())["seed"] == seed
        row = shown[task]
        assert (row["state"], row["recipe"]) == ("RUNNING", "vae/digits")
        assert row["run"] == str(cluster.run_of(task))
        assert row["step"] > 0
        assert row["images_per_second"] > 0
        assert row["metric"] == "val/loss"
    here("cancel", array)
    for task in tasks:
        assert cluster.end(task) == "CANCELLED"
        wait(lambda: "SIGTERM at step" in cluster.log(task), 30, "last words")  # noqa: B023
        newest = runs.newest(cluster.run_of(task))
        assert newest is not None
        assert f"at step {checkpoints.read(newest)['global_step']:,};" in cluster.log(task)
    _, error = here("cancel", "99999", code=2)
    assert "99999" in error


def test_srun_by_hand_is_checked_before_anything_waits(cluster: Cluster) -> None:
    words = ("-m", "genlab", "fit", "vae/digits", "trainer.max_steps=2", OFF)
    for options, extra, said in (
        (("-N2", "-n3"), (), "nodes disagree"),
        (("-N1", "-n2"), ("trainer.devices=3",), "trainer.devices is 3"),
        (("-N1", "-n2", "--job-name=bash"), (), "named bash"),
    ):
        done = subprocess.run(
            ["srun", *options, sys.executable, *words, *extra],
            env=cluster.environment, cwd=cluster.folder, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode, said
        assert said in done.stderr
        assert "Traceback" not in done.stderr


def test_a_batch_script_is_part_of_its_job_and_a_shell_is_not(
    cluster: Cluster, tmp_path: Path
) -> None:
    asks = f"{shlex.quote(sys.executable)} -c 'from genlab import process; print(process.in_job())'"
    log = tmp_path / "log"
    cluster.said("sbatch", "--wait", "-o", str(log), "--wrap", f"{asks}; srun {asks}")
    assert log.read_text().split() == ["True", "True"]
    assert cluster.said("salloc", "sh", "-c", f"{asks}; srun {asks}").split() == ["False", "True"]


def test_a_time_limit_of_one_minute_is_no_limit(cluster: Cluster, limited: str) -> None:
    assert cluster.end(limited, 300 * PATIENCE) == "COMPLETED", cluster.log(limited)
    assert cluster.restarts(limited) >= 2
    assert steps(cluster.folder, limited) == list(range(LIMITED_STEPS))
    folders = [p.name for p in (cluster.run_of(limited) / "wandb").glob("offline-run-*")]
    assert len(folders) >= 3
    assert len({name.split("-", 3)[3] for name in folders}) == 1
