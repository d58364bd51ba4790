"""Sweeps: which runs there are, that they are checked first and go on where they were."""

from __future__ import annotations

import json
import math
import os
import shlex
import signal
import sys
import threading
import time
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest

from genlab import process, recipes, runs
from genlab.cli import sweep as module
from genlab.errors import DiskError, RecipeError, RunError
from genlab.experiments import axes, pool
from genlab.experiments.pool import Task, run_all
from tests.cli.test_wandb import records
from tests.conftest import Here, Shell
from tests.full_disk import FullDisk
from tests.run_folders import write_run


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        ("[64,64],[128]", ["[64,64]", "[128]"]),
        ("{a: 1, b: [2,3]},x", ["{a: 1, b: [2,3]}", "x"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("'it[','x'", ["'it['", "'x'"]),
        ("3", ["3"]),
    ],
)
def test_commas_inside_brackets_and_quotes_do_not_split(text: str, parts: list[str]) -> None:
    assert axes.split(text) == parts


def test_the_grid_is_every_combination_the_last_word_fastest() -> None:
    words = ["model.lr=1e-4,1e-3", "trainer.max_epochs=1", "seed_everything=0..2"]
    grid = axes.grid(axes.axes(words))
    assert grid == [
        [f"model.lr={lr}", "trainer.max_epochs=1", f"seed_everything={seed}"]
        for lr in ("1e-4", "1e-3")
        for seed in (0, 1, 2)
    ]


def test_random_settings_are_different_in_bounds_repeatable_and_meet_every_seed() -> None:
    words = ["model.lr=log:1e-4..1e-1", "model.n=log:16..256", "model.act=gelu,relu"]
    found = axes.axes([*words, "seed_everything=0..1"])
    rows = axes.drawn(found, 200, seed=3)
    assert rows == axes.drawn(found, 200, seed=3)
    assert rows != axes.drawn(found, 200, seed=4)
    assert len({tuple(row) for row in rows}) == 400
    assert [row[-1] for row in rows[:4]] == ["seed_everything=0", "seed_everything=1"] * 2
    values = [dict(word.split("=") for word in row) for row in rows]
    rates = [float(value["model.lr"]) for value in values]
    assert all(1e-4 <= rate <= 1e-1 for rate in rates)
    below = sum(rate < 10**-2.5 for rate in rates) / len(rates)  # the middle of a log scale
    assert math.isclose(below, 0.5, abs_tol=0.1)  # 2.8 standard deviations of 200 draws
    assert all(16 <= int(value["model.n"]) <= 256 for value in values)
    assert {value["model.act"] for value in values} == {"gelu", "relu"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a=1"], "no setting varies"),
        (["a=1,1"], "twice"),
        (["a=1,,2"], "empty"),
        (["a=4..0"], "upwards"),
        (["a=log:0..1"], "above 0"),
        (["a=1,2", "a=3"], "set twice"),
    ],
)
def test_words_that_make_no_sweep(words: list[str], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        axes.axes(words)


def test_more_random_settings_than_there_are() -> None:
    with pytest.raises(RecipeError, match="only 2 different"):
        axes.drawn(axes.axes(["a=1,2"]), 3, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["model.lr=1e-3,1e-2", "model.lrr=3"], "no argument lrr"),
        (["model.lr=1e-3,abc"], "abc"),
        (["data.batch_size=8,1.5"], "1.5"),
        (["model.lr=log:1e-4..1e-2"], "--random N"),
        (["track.runs=a,b"], "cannot vary"),
        (["model.lr=1,2", "--parallel", "0"], "at least 1"),
        (["model.lr=1,2", "--name", "a/b"], "letters"),
        (["--resume", "nosuch"], "own arguments"),
    ],
)
def test_what_is_wrong_is_refused_before_the_first_run(
    here: Here, words: list[str], said: str
) -> None:
    _, err = here("sweep", "classifier/digits", *words, code=2)
    assert said in err
    assert len(err.strip().splitlines()) <= 3
    assert not list(here.folder.iterdir())


class Fits:
    """Stands for the processes: each leaves the run directory that a `genlab fit` would."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.seen, self.fail = folder, list[Task](), set[str]()

    def __call__(self, tasks: list[Task], parallel: int) -> list[int]:
        codes = []
        for task in tasks:
            self.seen.append(task)
            words = dict(word.split("=", 1) for word in task.command if "=" in word)
            name = task.environment[process.ID_VARIABLE]
            codes.append(1 if name in self.fail else 0)
            write_run(
                self.folder / "runs" / "classifier" / "digits" / name,
                seed=int(words.get("seed_everything", 0)),
                lr=float(words.get("model.lr", 0)),
                value=float(words.get("model.lr", 0)),
                finished=name not in self.fail,
            )
        return codes


def test_a_sweep_names_its_runs_skips_the_finished_and_continues_the_rest(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = Fits(here.folder)
    monkeypatch.setattr(module, "run_all", fits)
    fits.fail = {"s-2"}
    words = ("model.lr=0.1,0.2", "seed_everything=0..1", "trainer.max_epochs=1", "--name", "s")
    _, err = here("sweep", "classifier/digits", *words, code=1)
    assert "1 runs are not finished" in err
    folder = here.folder / "runs" / "classifier" / "digits" / "s"
    assert json.loads((folder / "sweep.json").read_text())["runs"] == ["s-0", "s-1", "s-2", "s-3"]
    command = fits.seen[1].command
    assert command[:6] == [sys.executable, "-P", "-m", "genlab", "fit", "classifier/digits"]
    assert {"model.lr=0.1", "seed_everything=1", "trainer.max_epochs=1"} <= set(command)
    assert 'track.group="s"' in command
    assert "track.test_after_fit=false" in command  # settings are selected on validation data
    fits.seen, fits.fail = [], set()
    out, _ = here("sweep", "--resume", "s")
    (task,) = fits.seen
    assert task.command[5:] == ["--resume", str(folder.parent / "s-2")]
    assert task.environment == {process.ID_VARIABLE: "s-2"}
    assert "compare.png" in out
    assert (folder / "compare.png").is_file()
    _, err = here("sweep", "classifier/digits", *words, code=2)
    assert "--resume s" in err
    fits.seen = []
    here("sweep", "--resume", str(folder))
    assert not fits.seen  # nothing left to do


def test_a_sweep_that_finds_the_disk_full_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    trials = [module.Trial(tmp_path / "s-0", [], ["classifier/digits"])]
    with FullDisk(tmp_path, 2).mounted(), pytest.raises(DiskError, match="No space left"):
        module._write(folder, trials)
    assert not os.path.lexists(folder)
    module._write(folder, trials)
    with pytest.raises(RunError, match="File exists"):
        module._write(folder, trials)
    assert (folder / "sweep.json").is_file()


def test_credentials_of_a_sweep_are_not_printed_and_its_folder_is_the_users_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = "model.pretrained=https://me:SECRET@host/w.pth?token=SECRET"
    for name, words in (("open", ["model.lr=1"]), ("kept", [address, "model.lr=1"])):
        trials = [module.Trial(tmp_path / f"{name}-0", words, ["classifier/digits"])]
        module._list(trials)
        module._write(tmp_path / name, trials)
    said = capsys.readouterr().out
    assert "SECRET" not in said
    assert "https://host/w.pth" in said
    assert (tmp_path / "kept").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "open").stat().st_mode & 0o077


def test_a_sweep_over_seeds_alone_is_tested(here: Here) -> None:
    out, _ = here("sweep", "classifier/digits", "seed_everything=3..4", "--dry-run")
    assert "seed_everything=3" in out
    assert "test_after_fit" not in out
    assert out.strip().endswith("2 runs")
    assert not list(here.folder.iterdir())


def test_submit_queues_one_array_whose_lines_are_the_runs(
    here: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    sbatch = here.folder / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text(f'#!/bin/sh\necho "$@" "$GENLAB_LINES" > {here.folder}/asked\necho 77\n')
    sbatch.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sbatch.parent}:{os.environ['PATH']}")
    words = ("seed_everything=0..2", "--name", "s", "--submit", "--time", "30", "--parallel", "2")
    out, _ = here("sweep", "classifier/digits", *words)
    assert "77" in out
    folder = here.folder / "runs" / "classifier" / "digits" / "s"
    asked = (here.folder / "asked").read_text()
    assert "--array=0-2%2" in asked
    assert "--time=30" in asked
    assert str(folder / "lines.txt") in asked
    lines = [shlex.split(line) for line in (folder / "lines.txt").read_text().splitlines()]
    assert [line[0] for line in lines] == [f"GENLAB_RUN_ID=s-{k}" for k in range(3)]
    assert all(line[1] == "classifier/digits" for line in lines)
    assert [f"seed_everything={k}" in line for k, line in enumerate(lines)] == [True] * 3
    write_run(folder.parent / "s-0", seed=0, lr=1, value=1)
    write_run(folder.parent / "s-1", seed=1, lr=1, value=1, finished=False)
    here("sweep", "--resume", "s", "--submit")
    assert "--array=0-1 " in (here.folder / "asked").read_text()
    more = [shlex.split(line) for line in (folder / "lines1.txt").read_text().splitlines()]
    assert more[0] == ["GENLAB_RUN_ID=s-1", "--resume", str(folder.parent / "s-1")]
    assert more[1] == lines[2]


def python(program: str, **rest: Any) -> Task:
    return Task("t", [sys.executable, "-S", "-c", program], **rest)


def test_tasks_run_side_by_side_and_all_codes_come_back(tmp_path: Path) -> None:
    meet = (  # each waits for the other: one after the other they would never end
        "import pathlib, sys, time\n"
        "me, other = (pathlib.Path({folder!r}, n) for n in {names})\n"
        "me.touch()\nend = time.time() + 60\n"
        "while not other.exists():\n"
        "    time.sleep(0.05)\n    assert time.time() < end\n"
        "print('seen', file=sys.stderr)\nsys.exit({code})"
    )
    tasks = [
        python(meet.format(folder=str(tmp_path), names=names, code=code), log=tmp_path / f"{code}")
        for names, code in ((("a", "b"), 0), (("b", "a"), 3))
    ]
    assert run_all(tasks, parallel=2) == [0, 3]
    assert (tmp_path / "3").read_text() == "seen\n"


def test_when_the_first_is_refused_nothing_else_is_tried(tmp_path: Path) -> None:
    later = python(f"open({str(tmp_path / 'late')!r}, 'w')")
    assert run_all([python("raise SystemExit(2)"), later]) == [2]
    assert not (tmp_path / "late").exists()
    assert run_all([python("raise SystemExit(1)"), later]) == [1, 0]


def test_a_signal_reaches_the_running_and_starts_nothing_more(tmp_path: Path) -> None:
    ready, got = tmp_path / "ready", tmp_path / "got"
    program = (
        "import pathlib, signal, sys, time\n"
        f"def end(*_): pathlib.Path({str(got)!r}).touch(); sys.exit(0)\n"
        f"signal.signal(signal.SIGTERM, end); pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(60)"
    )

    def kill() -> None:
        while not ready.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=kill, daemon=True).start()
    codes = run_all([python(program), python(f"open({str(tmp_path / 'late')!r}, 'w')")])
    assert codes == [0, -signal.SIGTERM]
    assert got.exists()
    assert not (tmp_path / "late").exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_each_of_several_gpus_gets_a_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert pool.visible_gpus() == ["3", "5"]
    say = "import os, sys; sys.stderr.write(os.environ['CUDA_VISIBLE_DEVICES'])"
    run_all([python(say, log=tmp_path / str(k)) for k in range(2)], parallel=2)
    assert sorted((tmp_path / str(k)).read_text() for k in range(2)) == ["3", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    assert pool.visible_gpus() == []


@pytest.mark.slow
def test_a_sweep_for_real(shell: Shell) -> None:
    words = ("seed_everything=0..1", "trainer.max_epochs=1", "track.wandb=offline")
    out, _ = shell("sweep", "classifier/digits", *words, "--name", "s", "--parallel", "2")
    first, second = shell.runs()
    assert (first.name, second.name) == ("s-0", "s-1")
    figures = [runs.read_json(run / "metrics.json") for run in (first, second)]
    loss = [one["val/loss"] for one in figures]
    assert loss[0] != loss[1]
    assert f"{mean(loss):.4g} ± {stdev(loss):.2g}" in out
    assert all("test/accuracy" in one for one in figures)
    assert (first.parent / "s" / "compare.png").is_file()
    assert "val/loss" in (first.parent / "s" / "s-0.log").read_text()
    started = [
        record.run
        for run in (first, second)
        for file in run.glob("wandb/offline-run-*/*.wandb")
        for record in records(file)
        if record.WhichOneof("record_type") == "run"
    ]
    assert [one.run_group for one in started] == ["s", "s"]
    assert [one.run_id[:4] for one in started] == ["s-0-", "s-1-"]
    out, _ = shell("sync", "s", "--dry-run")
    assert len(out.splitlines()) == 2


def test_what_wandbs_own_agent_starts_is_accepted(here: Here) -> None:
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    file = recipes.root() / "simclr" / "sweep.yaml"
    content = recipes.parse(file.read_text(), str(file))
    chosen = {
        key: {"value": one["values"][0] if "values" in one else one["min"]}
        for key, one in content["parameters"].items()
    }
    args = create_sweep_command_args({"args": chosen})["args_no_hyphens"]
    words = [word for word in content["command"] if word != "${env}"]
    assert words[:2] == ["genlab", "fit"]
    at = words.index("${args_no_hyphens}")
    out, _ = here(*words[1:at], *args, *words[at + 1 :], "--print_config")
    settings = recipes.parse(out, "the settings")
    assert settings["model"]["init_args"]["temperature"] == 0.05
    assert settings["model"]["init_args"]["projector_dims"] == [256, 64]
    assert settings["model"]["init_args"]["optimizer"]["lr"] == 3e-4
    assert settings["trainer"]["max_epochs"] == 30


def test_wandbs_sweep_file_is_no_recipe() -> None:
    assert not [name for name in recipes.shipped() if name.endswith("sweep")]
    assert "simclr/digits" in recipes.shipped()
