"""Cross-validation from the command line: folds that partition, figures that add up."""

from __future__ import annotations

import json
from statistics import mean, stdev

import numpy as np
import pytest

from genlab.cli.crossval import summarise
from tests.conftest import Here, Shell


@pytest.mark.slow
def test_every_image_is_held_out_once_and_the_table_is_that_of_the_folds(shell: Shell) -> None:
    words = ("trainer.max_epochs=1", "track.wandb=off")
    out, err = shell("crossval", "classifier/digits", "--folds", "2", "--json", *words)
    summary = json.loads(out)
    assert "fold 2 of 2" in err
    runs = sorted(shell.runs(), key=lambda run: run.name)
    assert [run.name[-6:] for run in runs] == ["-fold0", "-fold1"]
    splits = [np.load(run / "splits.npz") for run in runs]
    assert splits[0]["val"].tolist() == splits[1]["train"].tolist()
    assert splits[1]["val"].tolist() == splits[0]["train"].tolist()
    assert not set(splits[0]["test"]) & set(np.concatenate([s["val"] for s in splits]))
    figures = [json.loads((run / "metrics.json").read_text()) for run in runs]
    accuracy = [row["val/accuracy"] for row in figures]
    assert summary["val/accuracy"]["folds"] == accuracy
    assert summary["val/accuracy"]["mean"] == pytest.approx(mean(accuracy))
    assert not any(key.startswith("test/") for row in figures for key in row)
    kept = next((shell.folder / "runs/classifier/digits").glob("*-crossval.json"))
    assert json.loads(kept.read_text()) == summary


def test_the_spread_is_that_of_a_sample() -> None:
    rows = [{"val/accuracy": a, "val/loss": None, "step": 3} for a in (0.5, 0.7, 0.9)]
    found = summarise(rows)
    assert list(found) == ["val/accuracy"]
    assert found["val/accuracy"]["sd"] == pytest.approx(stdev([0.5, 0.7, 0.9]))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("classifier/digits", "--folds", "1"), "at least 2"),
        (("classifier/digts", "--folds", "3"), "did you mean classifier/digits"),
        (("classifier/digits", "model.lrr=1"), "no argument lrr"),
    ],
)
def test_wrong_words_start_nothing(here: Here, words: tuple[str, ...], said: str) -> None:
    _, err = here("crossval", *words, code=2)
    assert said in err
    assert len(err.strip().splitlines()) <= 3
    assert not (here.folder / "runs").exists()


def test_a_fold_of_data_with_fixed_parts_is_not_trained(here: Here) -> None:
    _, err = here("fit", "maf/eight_gaussians", "data.folds=3", "data.fold=0", code=2)
    assert "folds 3 cannot be combined with Toys, whose validation part is fixed" in err
    assert not (here.folder / "runs").exists()


def test_a_folder_of_runs_that_is_null_is_refused_before_the_first_fold(here: Here) -> None:
    _, err = here("crossval", "classifier/digits", "track.runs=null", code=2)
    assert err == "genlab: track.runs is not a folder\n  in the command line\n"
