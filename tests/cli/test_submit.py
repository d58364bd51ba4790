"""``submit``, ``jobs`` and ``cancel`` with commands that only look like Slurm's."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path

import pytest

from genlab.cluster.submission import Job, check_time
from genlab.errors import SlurmError
from tests.conftest import Here

FEW = ("vae/digits", "--nodes", "2", "--time", "10")


@pytest.fixture
def fake(here: Here, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of programs before all others on the PATH."""
    folder = here.folder / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    program(folder, "sinfo", "exit 1")
    return folder


def program(folder: Path, name: str, script: str) -> Path:
    """A command that writes its words to ``<name>.words`` and goes on with ``script``."""
    file = folder / name
    file.write_text(f'#!/bin/bash\nprintf "%s\\n" "$@" > {folder}/{name}.words\n{script}\n')
    file.chmod(0o755)
    return folder / f"{name}.words"


def test_submit_says_where_everything_is_going_to_be(here: Here, fake: Path) -> None:
    words = program(fake, "sbatch", 'echo "12;cluster"')
    out, _ = here("submit", *FEW, "--partition", "gpu", "--gpus-per-node", "4", "--after", "11",
                  "--sbatch=--mem=8G", "model.latent_dim=4", "data.batch_size=128")  # fmt: skip
    assert "job   12\nrun   runs/vae/digits/slurm-12\nlog   runs/vae/digits/slurm-12.log" in out
    said = words.read_text().splitlines()
    assert {
        "--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--time=10", "--mem=8G",
        "--partition=gpu", "--dependency=afterok:11", "--signal=USR1@120",
    } <= set(said)  # fmt: skip
    script = next(i for i, word in enumerate(said) if word.endswith("train.sbatch"))
    assert said[script + 1 :] == ["vae/digits", "model.latent_dim=4", "data.batch_size=128"]
    assert (here.folder / "runs" / "vae" / "digits").is_dir()  # the log needs it


def test_a_job_inherits_the_environment_but_not_the_allocation_it_is_sent_from(
    here: Here, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = program(fake, "sbatch", f"env > {fake}/environment; echo 12")
    for name in ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_CONF", "GENLAB_LINES", "MY_OWN"):
        monkeypatch.setenv(name, "1")
    here("submit", *FEW, "--warn", "90")
    assert "--export=ALL" in words.read_text().splitlines()
    lines = (fake / "environment").read_text().splitlines()
    assert {"SLURM_CONF=1", "MY_OWN=1", "GENLAB_WARN=90"} <= set(lines)
    assert not [line for line in lines if line.startswith(("SLURM_JOB", "SLURM_NT", "GENLAB_LI"))]


def test_seeds_are_an_array(here: Here, fake: Path) -> None:
    words = program(fake, "sbatch", "echo 12")
    out, _ = here("submit", *FEW, "--array-of-seeds", "0-4")
    assert "runs/vae/digits/slurm-12_%a" in out
    assert "--array=0-4" in words.read_text().splitlines()
    _, error = here("submit", *FEW, "--array-of-seeds", "0..4", code=2)
    assert "0-4" in error
    _, error = here("submit", *FEW, "--array-of-seeds", "0-4", "seed_everything=1", code=2)
    assert "seed_everything" in error


def test_a_dry_run_prints_the_command_and_touches_nothing(here: Here, fake: Path) -> None:
    words = program(fake, "sbatch", "echo 12")
    out, _ = here("submit", *FEW, "--dry-run")
    assert shlex.split(out.replace("\\\n", ""))[0] == "sbatch"
    assert not words.exists()
    assert not (here.folder / "runs").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("vae/digitz",), "vae/digits"),
        (("vae/digits", "model.latent_dmi=3"), "latent_dim"),
        (("vae/digits", "model.latent_dim=many"), "latent_dim"),
        (("vae/digits", "trainer.max_epochs=some"), "max_epochs"),
        (("vae/digits", "--nodes", "3"), "63 would do"),
        (("vae/digits", "--nodes", "2", "trainer.num_nodes=4"), "leave it out"),
        (("vae/digits", "--nodes", "0"), "--nodes"),
        (("vae/digits", "--time", "3"), "--time 3 is too short"),
        (("vae/digits", "--time", "0:00:59", "--warn", "0"), "take 60 s"),
        (("linear/digits", "model.pretrained=nothere"), "in the command line, model.pretrained"),
        (("vae/digits", "--gpus-per-node", "1", "--gpu", "a10040"), "did you mean a100-40"),
        (("vae/digits", "--gpus-per-node", "1", "--gpu", "h10"), "any other: --no-plan"),
        (("vae/digits", "--gpu", "h100"), "--gpu h100 requires --gpus-per-node G"),
    ],
)
def test_a_bad_recipe_queues_nothing(
    here: Here, fake: Path, words: tuple[str, ...], said: str
) -> None:
    queued = program(fake, "sbatch", "echo 12")
    _, error = here("submit", *words, code=2)
    assert said in error
    assert len(error.strip().splitlines()) <= 3
    assert not queued.exists()


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("30", 1800), ("2:30", 150), ("1:02:03", 3723), ("1-2", 93600), ("1-2:03", 93780),
     ("1-2:03:04", 93784), ("UNLIMITED", None)],
)  # fmt: skip
def test_times_are_read_as_slurm_reads_them(time: str, seconds: int | None) -> None:
    warn = Job("vae/digits", Path("runs"), time=time, warning_seconds=(seconds or 999999) - 60)
    enough = Job("vae/digits", Path("runs"), time=time, warning_seconds=(seconds or 999999) - 61)
    check_time(enough)
    if seconds is None:
        check_time(warn)
        return
    with pytest.raises(SlurmError, match="too short"):
        check_time(warn)


def test_what_slurm_objects_to_is_said_in_one_line(
    here: Here, fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusal = "Batch job submission failed: Invalid account or account/partition combination"
    program(
        fake, "sbatch", f'echo "sbatch: error: first"; echo "sbatch: error: {refusal}" >&2; exit 1'
    )
    _, error = here("submit", *FEW, code=2)
    assert error == f"genlab: sbatch refused: {refusal}\n"
    here("sweep", "vae/digits", "seed_everything=0,1", "--submit", code=2)
    assert not Path(here.folder, "runs").exists()
    monkeypatch.setenv("PATH", str(here.folder))
    for command in (("submit", *FEW), ("jobs",), ("cancel", "3")):
        _, error = here(*command, code=2)
        assert "on the PATH" in error
        assert error.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_refused_before_the_queue(
    here: Here, fake: Path
) -> None:
    queued = program(fake, "sbatch", "echo 12")
    (here.folder / "file").touch()
    for place in ("file", "/dev/full", "/proc/nowhere"):
        _, error = here("submit", *FEW, f"track.runs={place}", code=2)
        assert "cannot write the folder of runs" in error
        assert len(error.strip().splitlines()) <= 2
    assert not queued.exists()


def squeue(folder: Path, *rows: tuple[str, ...]) -> None:
    widths = (40, 120, 20, 60, 20, 20, 10, 1000, 1000)
    lines = ["".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    (folder / "queue").write_text("".join(f"{line}\n" for line in lines))
    program(folder, "squeue", f"cat {folder}/queue")


def test_jobs_show_what_run_directories_know(here: Here, fake: Path) -> None:
    run = here.folder / "runs" / "vae" / "digits" / "slurm-12_3"
    run.mkdir(parents=True)
    (run / "recipe.yaml").touch()
    (run / "metrics.csv").write_text(
        "step,train/loss,train/images_per_second,val/loss\n"
        "49,3.5,1200.5,\n49,,,2.25\n99,3.0,1300.0,\n149,1"  # the last line is being written
    )
    log = run.parent / "slurm-%A_%a.log"
    common = ("1:00", "10:00", "1", str(here.folder), str(log))
    squeue(fake,
           ("12_3", "genlab:vae/digits", "RUNNING", "None", *common),
           ("13", "genlab:vae/mnist", "PENDING", "Priority", *common),
           ("14", "somebody's", "RUNNING", "None", *common))  # fmt: skip
    rows = {row["job"]: row for row in json.loads(here("jobs", "--json")[0])}
    assert rows.keys() == {"12_3", "13"}
    first, second = rows["12_3"], rows["13"]
    assert (first["step"], first["images_per_second"]) == (100, 1300.0)
    assert (first["metric"], first["value"], first["run"]) == ("val/loss", 2.25, str(run))
    assert (second["state"], second["reason"], second["step"]) == ("PENDING", "Priority", None)
    table, _ = here("jobs")
    assert "val/loss 2.25" in table
    assert "PENDING (Priority)" in table


def test_cancel_knows_genlabs_jobs_only(here: Here, fake: Path) -> None:
    words = program(fake, "scancel", "")
    squeue(fake, ("12_3", "genlab:vae/digits", "RUNNING", "", "1:00", "2:00", "1", "/", "/log"))
    _, error = here("cancel", "14", code=2)
    assert "12_3" in error
    assert not words.exists()
    here("cancel", "12")
    assert words.read_text().split() == ["12"]
