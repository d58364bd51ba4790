"""Runs by words, conditions and time, in the order of a metric."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from genlab import runs
from genlab.errors import InputError
from genlab.runs import registry, selection
from genlab.runs.rows import Row
from tests.run_folders import write_run


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, lr, value in (("slurm-7_0", 0.1, 3.0), ("slurm-7_1", 0.2, 1.0), ("8", 0.4, 2.0)):
        folder = "simclr/digits" if name != "8" else "vae/digits"
        write_run(Path("runs") / folder / name, seed=0, lr=lr, value=value, kind=folder[:3])
    return Path("runs")


def ids(rows: list[Row]) -> list[str]:
    return [row.id for row in rows]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], ["slurm-7_0", "slurm-7_1", "8"]), (["simclr"], ["slurm-7_0", "slurm-7_1"]),
        (["simclr/digits"], ["slurm-7_0", "slurm-7_1"]), (["slurm-7"], ["slurm-7_0", "slurm-7_1"]),
        (["*/digits"], ["slurm-7_0", "slurm-7_1", "8"]), (["8", "slurm-7_1"], ["slurm-7_1", "8"]),
        (["runs/vae"], ["8"]), (["runs/vae/digits/8"], ["8"]), (["vae/digits/8"], ["8"]),
    ],
)  # fmt: skip
def test_words(root: Path, words: list[str], found: list[str]) -> None:
    assert sorted(ids(selection.by_words(registry.scan(root), words))) == sorted(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("model.optimizer.lr>0.1", ["slurm-7_1", "8"]), ("model.lr>0.1", ["slurm-7_1", "8"]),
        ("lr>0.1 and recipe~simclr*", ["slurm-7_1"]), ("val/loss<2.5", ["slurm-7_1", "8"]),
        ("best/val/loss==1", ["slurm-7_1"]), ("best>=2 and state==done", ["slurm-7_0", "8"]),
        ("model==vae or id==slurm-7_0", ["slurm-7_0", "8"]), ("data.batch_size>8", []),
        ("host==null and age<1d", ["slurm-7_0", "slurm-7_1", "8"]), ("size>1GB", []),
        ("age < 500min and age<2 h", ["slurm-7_0", "slurm-7_1", "8"]),
        ("size<2mb and size < 2 MB and size<2M", ["slurm-7_0", "slurm-7_1", "8"]),
        ("age < '2 h' and val/loss!=nan and step!=null", ["slurm-7_0", "slurm-7_1", "8"]),
    ],
)  # fmt: skip
def test_conditions(root: Path, text: str, found: list[str]) -> None:
    assert sorted(ids(selection.where(registry.scan(root), text))) == sorted(found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model.optimizer.lrr>1", "did you mean model.optimizer.lr"),
        ("state==faild", "did you mean failed"),
        ("vall/loss>1", "did you mean val/loss"),
        ("class_path==1", "no run has"),
        ("age<7q", "age takes 30m, 12h, 7d, 2w"), ("age<2GB", "age takes"),
        ("age < 7 q", "age takes"), ("size>2XB", "size takes"), ("size > 5min", "size takes"),
        ("started>7d", "age takes 7d"), ("step==sixty", "step is a number, sixty is not"),
        ("val/loss < abc", "val/loss is a number"), ("hours<30m", "hours takes 0.5"),
    ],
)  # fmt: skip
def test_unknown_names_are_said_with_the_nearest(root: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        selection.where(registry.scan(root), text)


def test_a_key_that_may_mean_several_settings_is_refused() -> None:
    kept = [{"model.optimizer.lr": 1, "model.head.lr": 2}]
    with pytest.raises(InputError, match=r"may mean model\.head\.lr or model\.optimizer\.lr"):
        selection.setting_of("model.lr", kept)
    assert selection.setting_of("optimizer.lr", kept) == "model.optimizer.lr"


def test_words_that_select_nothing(root: Path, tmp_path: Path) -> None:
    rows = registry.scan(root)
    with pytest.raises(InputError, match="did you mean slurm-7_"):
        selection.by_words(rows, ["slurm-7_9"])
    other = write_run(tmp_path / "others" / "a" / "b" / "x", seed=0, lr=1, value=1)
    with pytest.raises(InputError, match="--runs-in"):
        selection.by_words(rows, [str(other)])


def test_since_counts_the_last_change(root: Path) -> None:
    past = time.time() - 3 * 86_400
    for file in (root / "vae").rglob("*"):
        os.utime(file, (past, past))
    rows = registry.scan(root)
    assert sorted(ids(selection.since(rows, "2d"))) == ["slurm-7_0", "slurm-7_1"]
    assert len(selection.since(rows, "4d")) == 3
    assert len(selection.since(rows, "2026-01-01")) == 3
    for odd in ("2", "later", "7y", "2026-13-01"):
        with pytest.raises(InputError, match="is not a time"):
            selection.since(rows, odd)


def test_the_best_come_last(root: Path) -> None:
    run = root / "vae" / "digits" / "8"
    final = runs.read_json(run / "metrics.json")
    more = {"evaluate/fid_lenet": 4.0, "val/other": 1, "val/loss": "nan", "best/val/loss": "nan"}
    runs.write_json(run / "metrics.json", final | more)
    rows = registry.scan(root)
    metric, mode, order = selection.ordered(rows, "val/loss", lambda name: "")
    assert (metric, mode, ids(order)) == ("val/loss", "min", ["8", "slurm-7_0", "slurm-7_1"])
    assert ids(selection.ordered(rows, "val/loss:max", lambda name: "")[2])[-1] == "slurm-7_0"
    assert selection.ordered(rows, "val/other", lambda name: "max")[1] == "max"
    with pytest.raises(InputError, match="val/other:min or val/other:max"):
        selection.ordered(rows, "val/other", lambda name: "")
    with pytest.raises(InputError, match="did you mean val/loss"):
        selection.ordered(rows, "val/los", lambda name: "")
    with pytest.raises(InputError, match="better"):
        selection.ordered(rows, "val/loss:best", lambda name: "")
