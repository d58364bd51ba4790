"""Chains of jobs on a real Slurm."""

from __future__ import annotations

import json
import os
import shutil
import signal

import pytest

from tests.conftest import Here
from tests.slurm.cluster import MARKS, PATIENCE, Cluster
from tests.slurm.testbed import wait

pytestmark = MARKS
SHORT = ("--time", "9", "track.wandb=off", "trainer.max_epochs=1000")
SLOW = "trainer.callbacks+=[{class_path: tests.programs.Slow, init_args: {seconds: 0.1}}]"


def chain(cluster: Cluster, *words: str) -> list[str]:
    """The numbers of a chain's jobs."""
    last = int(cluster.submit(*words))
    return [str(last - k) for k in reversed(range(1 + words.count("--then")))]


def test_a_chain_of_three_trains_each_from_the_one_before_whatever_happens_to_it(
    cluster: Cluster,
) -> None:
    few = ("trainer.max_steps=20", "track.wandb=off")
    first, second, third = chain(
        cluster, "simclr/digits", *SHORT, "trainer.max_steps=120", SLOW,
        "--then", "linear/digits", *few, "--then", "finetune/digits", "model.pretrained=@1", *few,
    )  # fmt: skip
    step = 0
    for restarts, disturb in enumerate(("USR1", "kill")):
        wait(lambda: cluster.step(first) > step, 90 * PATIENCE, "training")  # noqa: B023
        if disturb == "USR1":
            cluster.said("scancel", "--signal=USR1", first)
        else:
            os.kill(cluster.pid(first, 0), signal.SIGKILL)
        wait(lambda: cluster.runs_anew(first, restarts), 90 * PATIENCE, "restart")  # noqa: B023
        step = cluster.step(first)
        assert [cluster.state(job) for job in (second, third)] == ["PENDING", "PENDING"]
    for job in (first, second, third):
        assert cluster.end(job) == "COMPLETED", cluster.log(job)
    source = cluster.run_of(first)
    for job in (second, third):
        facts = json.loads((cluster.run_of(job) / "run.json").read_text())
        assert facts["parents"]["pretrained"]["path"] == str(source)
        assert facts["parents"]["pretrained"]["step"] == 120
        metrics = json.loads((cluster.run_of(job) / "metrics.json").read_text())
        assert metrics["test/accuracy"] > 0.3  # 0.1 is chance


def test_links_behind_a_failure_are_cancelled_and_jobs_says_why(
    cluster: Cluster, here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, third = chain(
        cluster, "simclr/digits", *SHORT, "model.optimizer.lr=1e30", "trainer.max_steps=60",
        "--then", "linear/digits", "--then", "knn/digits",
    )  # fmt: skip
    assert cluster.end(first) == "FAILED", cluster.log(first)
    assert [cluster.end(job) for job in (second, third)] == ["CANCELLED", "CANCELLED"]
    for name, value in cluster.environment.items():
        monkeypatch.setenv(name, value)
    shown = {row["job"]: row for row in json.loads(here("jobs", "--json")[0])}
    assert shown[second]["reason"] == shown[third]["reason"] == "DependencyNeverSatisfied"


def test_a_parent_that_has_gone_when_its_job_starts_is_final(cluster: Cluster) -> None:
    first = cluster.submit("simclr/digits", *SHORT, "trainer.max_steps=4", SLOW)
    second = cluster.submit("linear/digits", f"model.pretrained=slurm-{first}", "--after", first,
                            "--sbatch=--hold", "--time", "9")  # fmt: skip
    assert cluster.end(first) == "COMPLETED", cluster.log(first)
    shutil.rmtree(cluster.run_of(first))
    cluster.said("scontrol", "release", second)
    assert cluster.end(second) == "FAILED"
    assert cluster.restarts(second) == 0
    assert f"slurm-{first}" in cluster.log(second)
    assert "Traceback" not in cluster.log(second)


def test_a_job_that_slurm_does_not_know_is_said_and_not_waited_for(
    cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster.submit(
        "vae/digits", *SHORT, "trainer.max_steps=2", "--after", "99999", "--sbatch=--hold"
    )
    assert "--after 99999: Slurm does not know it" in capsys.readouterr().err
