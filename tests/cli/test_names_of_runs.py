"""Names of runs and metrics that `runs` and `compare` take."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from genlab import runs
from tests.conftest import Here
from tests.run_folders import write_run


@pytest.fixture
def lab(here: Here) -> Here:
    """Runs of two recipes of one method, the newest last, with a judge's metric."""
    for k, name in enumerate(("vae/digits/1", "vae/mnist/2")):
        path = write_run(here.folder / "runs" / name, seed=0, lr=0.1 + k, value=1.0 + k)
        os.utime(path / "recipe.yaml", ns=(k, k))
        final = runs.read_json(path / "metrics.json")
        fid = {"evaluate/fid_a_12": 3.0 + k, "evaluate/fid_a_12_floor": 0.1, "evaluate/kl": 1.0}
        runs.write_json(path / "metrics.json", final | fid)
    return here


def test_a_methods_name_is_its_newest_run_for_diff_and_all_for_compare(lab: Here) -> None:
    out, _ = lab("runs", "diff", "vae/digits/1", "vae")
    assert "A runs/vae/digits/1\nB runs/vae/mnist/2\n" in out
    _, said = lab("runs", "diff", "vae", "vae/mnist")
    assert said == "vae and vae/mnist are one run: runs/vae/mnist/2\n"
    table = json.loads(lab("compare", "vae", "--json")[0])
    assert [run["id"] for group in table["groups"] for run in group["runs"]] == ["1", "2"]


def test_the_beginning_of_a_metric_is_enough_where_it_is_of_one(lab: Here) -> None:
    out, _ = lab("runs", "--best", "evaluate/fid:min")
    assert out.splitlines()[0].split()[4] == "evaluate/fid_a_12"
    table = json.loads(lab("compare", "vae", "--metric", "evaluate/fid", "--json")[0])
    assert list(table["groups"][0]["metrics"]) == ["evaluate/fid_a_12"]
    run = lab.folder / "runs" / "vae" / "mnist" / "2"
    final = runs.read_json(run / "metrics.json")
    runs.write_json(run / "metrics.json", final | {"evaluate/fid_b_34": 2.0})
    for words in (("runs", "--best"), ("compare", "vae", "--metric")):
        _, error = lab(*words, "evaluate/fid", code=2)
        assert "evaluate/fid may mean evaluate/fid_a_12, evaluate/fid_a_12_floor, evalu" in error


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--restore", "it is of genlab runs archive"),
        ("--csv a.csv --json", "--csv cannot be combined with --json"),
        ("--runs-in nowhere", "--runs-in nowhere is not a folder"),
        ("vea", "did you mean vae"),
    ],
)
def test_wrong_options_are_refused(lab: Here, words: str, told: str) -> None:
    _, error = lab("runs", *words.split(), code=2)
    assert told in error
    assert not Path("a.csv").exists()
