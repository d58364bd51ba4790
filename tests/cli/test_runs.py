"""``genlab runs`` and its actions, from the command line."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys

import pytest

from genlab import runs
from genlab.cli.candidates import candidates
from genlab.cli.runs import ACTIONS
from genlab.cli.tables import ago, bytes_of, time_of
from genlab.runs import removal
from tests.conftest import Here
from tests.run_folders import write_run


@pytest.fixture
def lab(here: Here) -> Here:
    """Four runs of two recipes: three done, one killed."""
    for name, lr, value in (("1", 0.1, 3.0), ("2", 0.2, 1.0), ("3", 0.4, 2.0), ("4", 0.4, 9.0)):
        recipe = "simclr/digits" if name in "12" else "vae/digits"
        path = here.folder / "runs" / recipe / name
        write_run(path, seed=0, lr=lr, value=value, finished=name != "4", note="x" * 60)
        facts = runs.read_json(path / "run.json")
        started = {"started": f"2026-11-0{name}T10:00:00+0000", "host": "here"}
        runs.write_json(path / "run.json", facts | started)
    return here


def ids(out: str) -> list[str]:
    return [line.split()[0] for line in out.splitlines()[1:]]


def test_the_list_is_aligned_newest_last(lab: Here) -> None:
    with runs.lock(lab.folder / "runs" / "vae" / "digits" / "3"):
        out, err = lab("runs")
    assert not err
    head, *lines = out.splitlines()
    assert head.split() == ["RUN", "RECIPE", "STATE", "STEP", "BEST", "TIME", "SIZE", "HOST",
                            "STARTED"]  # fmt: skip
    assert [line.split()[2] for line in lines] == ["done", "done", "running", "stale"]
    assert ids(out) == ["1", "2", "3", "4"]
    assert {line.index("here") for line in lines} == {head.index("HOST")}
    assert lines[0].endswith(" ago")
    assert "val/loss 3" in lines[0]


def test_words_where_since_and_best(lab: Here) -> None:
    assert ids(lab("runs", "simclr")[0]) == ["1", "2"]
    assert ids(lab("runs", "--where", "model.lr>0.1 and state==done")[0]) == ["2", "3"]
    assert ids(lab("runs", "vae/digits", "--where", "state==stale", "--since", "1h")[0]) == ["4"]
    out, _ = lab("runs", "--best", "val/loss")
    assert out.splitlines()[0].split()[4] == "val/loss"
    assert ids(out) == ["4", "1", "3", "2"]
    out, err = lab("runs", "--since", "2100-01-01")
    assert (out, err) == ("", "no such runs under runs/\n")


def test_a_judge_is_named_with_its_figure(lab: Here) -> None:
    run = lab.folder / "runs" / "vae" / "digits" / "3"
    judge = {"evaluate/fid_lenet_ab12": 3.25, "evaluate/judge_lenet_ab12": "lenet/mnist/7, sha256"}
    runs.write_json(run / "metrics.json", runs.read_json(run / "metrics.json") | judge)
    out, _ = lab("runs", "--best", "evaluate/fid_lenet_ab12:min")
    assert out.splitlines()[-2].split()[:5] == ["3", "vae/digits", "done", "20", "3.25"]
    assert out.splitlines()[-1] == "judge: lenet/mnist/7, sha256"
    found = json.loads(lab("runs", "3", "--best", "evaluate/fid_lenet_ab12:min", "--json")[0])
    assert found[0]["judge"] == "lenet/mnist/7, sha256"
    out, _ = lab("runs", "--csv", "-", "--best", "evaluate/fid_lenet_ab12:min")
    assert {row["judge"] for row in csv.DictReader(io.StringIO(out))} == {
        "", "lenet/mnist/7, sha256"}  # fmt: skip


def test_damaged_files_are_named(lab: Here) -> None:
    runs_of = lab.folder / "runs" / "simclr" / "digits"
    (runs_of / "1" / "run.json").write_text("{")
    (runs_of / "2" / "recipe.yaml").write_text("- 1")
    out, err = lab("runs", "simclr")
    assert [line.split()[2] for line in out.splitlines()[1:]] == ["damaged", "damaged"]
    assert sorted(err.splitlines()) == [
        "damaged: runs/simclr/digits/1/run.json",
        "damaged: runs/simclr/digits/2/recipe.yaml",
    ]
    assert "damaged: runs/simclr/digits/1/run.json" in lab("runs", "diff", "1", "3")[1]
    assert "2/recipe.yaml" in lab("compare", "1", "2", "3")[1]


def test_json_and_csv(lab: Here) -> None:
    found = json.loads(lab("runs", "--json")[0])
    assert [one["id"] for one in found] == ["1", "2", "3", "4"]
    assert found[1]["metrics"]["best/val/loss"] == 1.0
    assert found[0]["best"] == 3.0
    out, _ = lab("runs", "simclr", "--csv", "my.csv")
    assert out == "2 runs in my.csv\n"
    rows = list(csv.DictReader(io.StringIO((lab.folder / "my.csv").read_text())))
    assert [row["id"] for row in rows] == ["1", "2"]
    assert [row["model.optimizer.lr"] for row in rows] == ["0.1", "0.2"]
    assert [row["val/loss"] for row in rows] == ["3.0", "1.0"]
    assert "model.note" not in rows[0]  # in which they agree
    assert lab("runs", "simclr", "--csv", "-")[0] == (lab.folder / "my.csv").read_text()
    lab("runs", "--csv", "nowhere/my.csv", code=2)


def test_remove_asks_and_takes_no_running_run(lab: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    root = lab.folder / "runs"
    _, err = lab("runs", "rm", "vae", code=2)
    assert err.splitlines()[-2].endswith("There is no terminal to ask on")
    assert err.splitlines()[-1] == "  --yes answers it"
    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", Answer("n\n"))
    assert "nothing was changed" in lab("runs", "rm", "vae", code=2)[1]
    assert len(list(root.glob("*/*/*/recipe.yaml"))) == 4
    with runs.lock(root / "vae" / "digits" / "3"):
        out, err = lab("runs", "rm", "vae", "--yes", code=1)
    assert "left as it is: vae/digits/3 is running" in err
    assert out.startswith("removed 1 run, ")
    monkeypatch.setattr("sys.stdin", Answer("y\n"))
    lab("runs", "rm", "--where", "state==done and lr<0.15", "--yes")
    assert sorted(file.parent.name for file in root.glob("*/*/*/recipe.yaml")) == ["2", "3"]


@pytest.mark.parametrize("action", ["rm", "archive"])
@pytest.mark.parametrize("word", ["", " ", ".", "runs", "runs/", "..", "vae/../runs"])
def test_no_name_means_all_runs(lab: Here, action: str, word: str) -> None:
    (lab.folder / "vae").mkdir()
    _, err = lab("runs", action, word, "--yes", code=2)
    assert len(err.splitlines()) <= 3
    _, err = lab("runs", action, "simclr", word, "--yes", code=2)
    assert "selects no runs" in err or "it holds all runs" in err
    assert len(list((lab.folder / "runs").glob("*/*/*/recipe.yaml"))) == 4


def test_a_run_that_stays_does_not_keep_the_next(
    lab: Here, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = removal.delete

    def odd(root: str, path: str) -> None:
        if path.endswith("3"):
            raise PermissionError(13, "Permission denied")
        delete(root, path)

    monkeypatch.setattr(removal, "delete", odd)
    out, err = lab("runs", "rm", "vae", "--yes", code=1)
    assert err == "left as it is: cannot write vae/digits/3: Permission denied\n"
    assert out.startswith("removed 1 run, ")
    assert [file.parent.name for file in (lab.folder / "runs").glob("vae/*/*/recipe.yaml")] == ["3"]


def test_no_cell_is_a_formula_and_no_text_moves_the_terminal(lab: Here) -> None:
    path = lab.folder / "runs" / "vae" / "digits" / "3"
    facts = runs.read_json(path / "run.json")
    runs.write_json(path / "run.json", facts | {"host": "=cmd|calc", "device": "-1+2"})
    rows = list(csv.DictReader(io.StringIO(lab("runs", "--csv", "-")[0])))
    assert {(row["host"], row["device"]) for row in rows} == {("'=cmd|calc", "'-1+2"), ("here", "")}
    runs.write_json(path / "run.json", facts | {"host": "a\x1b]0;title\x07\n\u202eä"})
    out, _ = lab("runs", "3")
    assert "a\\x1b]0;title\\x07\\n\\u202eä" in out
    assert len(out.splitlines()) == 2


class Answer(io.StringIO):
    """A terminal on which somebody has typed."""

    def isatty(self) -> bool:
        return True


def test_archive_and_restore(lab: Here) -> None:
    folder = lab.folder / "runs" / "vae" / "digits"
    out, _ = lab("runs", "archive", "3", "--yes")
    assert out.splitlines()[0] == "runs/vae/digits/3.tar.gz"
    assert not (folder / "3").exists()
    assert ids(lab("runs")[0]) == ["1", "2", "4"]
    assert lab("runs", "du")[0].splitlines()[-1].startswith("archives: 1, ")
    lab("runs", "archive", "--restore", "runs/vae/digits/3.tar.gz", code=2)  # nobody to ask
    lab("runs", "archive", "--restore", "runs/vae/digits/3.tar.gz", "--yes")
    assert ids(lab("runs")[0]) == ["1", "2", "3", "4"]
    assert runs.read_json(folder / "3" / "metrics.json")["val/loss"] == 2.0


def test_du_counts_by_kind(lab: Here) -> None:
    run = lab.folder / "runs" / "vae" / "digits" / "3"
    for name, size in (("checkpoints", 3000), ("links", 500), ("nonfinite", 40), ("wandb/x", 6)):
        (run / name).mkdir(parents=True, exist_ok=True)
        (run / name / "file").write_bytes(b"x" * size)
    (run / "pictures" / "link").symlink_to(run / "checkpoints" / "file")
    found = json.loads(lab("runs", "du", "--json")[0])
    one = found["runs"]["vae/digits/3"]
    assert (one["checkpoints"], one["links"], one["captures"], one["wandb"]) == (3000, 500, 40, 6)
    assert one["pictures"] < 200
    lines = lab("runs", "du")[0].splitlines()
    assert lines[-1].split()[:2] == ["all", "4"]
    assert lines[-2].split()[0] == "3"  # the largest last
    assert "3.0 kB" in lines[-2]


def test_diff_says_each_difference_once(lab: Here) -> None:
    vae = lab.folder / "runs" / "vae" / "digits" / "3"
    facts = runs.read_json(vae / "run.json")
    runs.write_json(vae / "run.json", facts | {"fingerprint": "ab", "versions": {"torch": "2.15"}})
    out, _ = lab("runs", "diff", "1", "3")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[:2] == ["A runs/simclr/digits/1", "B runs/vae/digits/3"]
    for line in ("model.optimizer.lr 0.1 0.4", "fingerprint - ab", "versions.torch - 2.15",
                 "val/loss 3 2", "best/val/loss 3 2"):  # fmt: skip
        assert lines.count(line) == 1, out
    assert "model.note" not in out
    assert lines[-1].startswith("the same: ")
    assert json.loads(lab("runs", "diff", "1", "3", "--json")[0])["settings"][
        "model.optimizer.lr"] == [0.1, 0.4]  # fmt: skip
    out, _ = lab("runs", "diff", "1", "1")  # which has no fingerprint
    assert "nothing" not in out
    assert "the same run" not in out
    assert "the same run" in lab("runs", "diff", "3", "3")[0]
    assert "the same run" not in lab("runs", "diff", "1", "3")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("rm", "--yes"), "which runs?"),
        (("rm", "1", "--best", "val/loss"), "genlab runs rm has no option --best"),
        (("du", "--yes"), "genlab runs du has no option --yes"),
        (("--yes",), "genlab runs has no option --yes"),
        (("diff", "1"), "two runs"),
        (("archive", "--restore", "x.zip", "--yes"), "is not an archive"),
        (("--where", "model.lrr==1"), "did you mean"),
        (("--best", "val/los"), "did you mean val/loss"),
        (("nothing/like/it",), "is not a run directory"),
    ],
)
def test_wrong_words_are_refused_in_three_lines(
    lab: Here, words: tuple[str, ...], said: str
) -> None:
    _, err = lab("runs", *words, code=2)
    assert said in err
    assert len(err.strip().splitlines()) <= 3
    assert len(list((lab.folder / "runs").glob("*/*/*/recipe.yaml"))) == 4


def test_runs_of_a_recipe_that_is_called_like_an_action(here: Here) -> None:
    write_run(here.folder / "runs" / "rm" / "x" / "1", seed=0, lr=1, value=1)
    assert ids(here("runs", "runs/rm")[0]) == ["1"]


@pytest.mark.slow
def test_an_evaluation_shows_in_runs_and_compare(here: Here) -> None:
    short = ("track.wandb=off", "trainer.accelerator=cpu", "trainer.max_steps=20")
    for recipe in ("vae/digits", "classifier/digits"):
        here("fit", recipe, *short)
    here("evaluate", "vae/digits", "--judge", "classifier/digits", "--samples", "100")
    (run,) = (here.folder / "runs" / "vae" / "digits").glob("*-*")
    final = runs.read_json(run / "metrics.json")
    (name,) = (key for key in final if key.startswith("evaluate/fid_") and "floor" not in key)
    (judge,) = (value for key, value in final.items() if key.startswith("evaluate/judge_"))
    assert "classifier/digits/" in judge
    lines = here("runs", "--best", name)[0].splitlines()
    assert lines[-1] == f"judge: {judge}"
    assert f"{final[name]:.4g}" in lines[-2].split()  # small is better, as its definition says
    out, _ = here("compare", "vae/digits")
    assert name in out.splitlines()[0].split()
    assert f"{final[name]:.4g}" in out.splitlines()[1].split()
    assert f"judge: {judge}" in out.splitlines()


def test_completion(lab: Here) -> None:
    found = candidates(["runs", ""])
    assert {*ACTIONS, "runs/vae/digits/3", "vae/digits"} <= {*found}
    assert candidates(["runs", "rm", "runs/vae/digits/3"]) == ["runs/vae/digits/3"]
    assert "rm" not in candidates(["runs", "rm", ""])
    assert {"--where", "--best", "--since", "--yes"} <= {*candidates(["runs", "--"])}


def test_amounts() -> None:
    assert [bytes_of(n) for n in (0, 999, 1000, 123_456, 5e9, 2e15)] == [
        "0 B", "999 B", "1.0 kB", "123 kB", "5.0 GB", "2,000.0 TB"]  # fmt: skip
    assert [time_of(h) for h in (0, 0.02, 0.5, 2.5)] == ["0 s", "72 s", "30 min", "2.5 h"]
    assert ago(0).endswith("y ago")


def test_the_list_loads_no_torch(lab: Here) -> None:
    program = (
        "import sys, genlab.cli\n"
        "genlab.cli.run(['runs', '--where', 'lr>0', '--best', 'val/loss'])\n"
        "assert not {'torch', 'numpy', 'rich'} & {*sys.modules}"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                          cwd=lab.folder, check=False)  # fmt: skip
    assert not done.stderr
    assert sorted(ids(done.stdout)) == ["1", "2", "3", "4"]
