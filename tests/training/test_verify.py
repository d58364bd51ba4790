"""Honest runs are accepted; changed files, and states that do not follow, are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab import cli, runs
from genlab.errors import InputError
from genlab.training import session
from genlab.training.proof import files
from genlab.training.proof.chain import chance
from genlab.training.verify import verify
from tests.training.proof.forging import (
    BEST,
    BOOK,
    LAST,
    LINK,
    NEXT,
    final,
    fit,
    flip,
    forge_hashes,
    in_json,
    in_weight,
    mostly_slow,
)  # fmt: skip
from tests.training.test_kills import FAMILIES, _needs

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")


@pytest.fixture(scope="module")
def semi_supervised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with labels.json."""
    settings = {"trainer__max_epochs": 2, "data__steps_per_epoch": 12}
    return fit(tmp_path_factory.mktemp("few"), "fixmatch/digits", **settings)


@pytest.fixture
def run(linked_run: Path, tmp_path: Path) -> Path:
    """A copy of the honest run."""
    return Path(shutil.copytree(linked_run, tmp_path / "run"))


def contents(run: Path) -> dict[str, bytes]:
    return {str(f.relative_to(run)): f.read_bytes() for f in run.rglob("*") if f.is_file()}


def test_an_honest_run_is_accepted_and_left_as_it_is(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(run)
    assert cli.run(["verify", str(run), "--spot", "2", "--seed", "7"]) == 0
    said = capsys.readouterr().out
    assert "2 of 5 windows, 2 of 40 steps trained again come to the same states" in said
    assert "the other 3 windows; probability of refusal by number of false ones: 1: 40%" in said
    assert said.splitlines()[-1] == f"accepted     {run} (windows by --seed 7)"
    assert cli.run(["verify", str(run), "--full"]) == 0
    assert "40 steps trained again come to the same states" in capsys.readouterr().out
    assert contents(run) == before


def in_recipe(run: Path) -> None:
    text = (run / "recipe.yaml").read_text()
    (run / "recipe.yaml").write_text(text.replace("lr: 0.003", "lr: 0.004"))
    assert text != (run / "recipe.yaml").read_text()


def other_splits(run: Path) -> None:
    import numpy as np

    with np.load(run / "splits.npz") as file:
        found = {name: file[name] for name in file.files}
    found["train"][:2] = found["train"][:2][::-1].copy()
    np.savez_compressed(run / "splits.npz", **found)


def booked(key: str) -> Callable[[Path], None]:
    return in_json(BOOK, lambda c: c["links"][2].update({key: "0" * 64}))


CHANGED: dict[str, tuple[str, Callable[[Path], Any]]] = {  # what the fault names, and the change
    "weight of best.ckpt": (BEST, in_weight(BEST)),
    "weight of last.ckpt": (LAST, in_weight(LAST)),
    "weight of a link": (LINK, in_weight(LINK)),
    "bit of best.ckpt": (BEST, lambda r: flip(r / BEST)),
    "bit of last.ckpt": (LAST, lambda r: flip(r / LAST)),
    "bit of a link": (LINK, lambda r: flip(r / LINK)),
    "torn link": (LINK, lambda r: (r / LINK).write_bytes((r / LINK).read_bytes()[:9_000])),
    "last.ckpt is gone": (LAST, lambda r: (r / LAST).unlink()),
    "another link in its place": (LINK, lambda r: shutil.copy(r / NEXT, r / LINK)),
    "test metric": ("test/kl", final("test/kl", 1.0)),
    "best metric": ("best/val/loss", final("best/val/loss", 1.0)),
    "step": ("metrics.json says step 50", final("step", 50)),
    "metrics.csv": ("metrics.csv", lambda r: flip(r / "metrics.csv")),
    "recipe.yaml": ("recipe.yaml", in_recipe),
    "bit of splits.npz": ("splits.npz", lambda r: flip(r / "splits.npz")),
    "splits": ("splits", other_splits),
    "state in links.json": (BOOK, booked("state")),
    "later state in links.json": (BOOK, booked("later")),
    "torn links.json": (BOOK, lambda r: (r / BOOK).write_text("{")),
    "torn files.json": ("files.json", lambda r: flip(r / "links/files.json", 0.0)),
}
HASHLESS = ("weight of best.ckpt", "weight of last.ckpt", "weight of a link", "test metric",
            "best metric", "step", "recipe.yaml", "splits", "metrics.csv")  # fmt: skip


@pytest.mark.parametrize("name", mostly_slow(CHANGED, "weight of best.ckpt", "step"))
def test_a_changed_file_is_named(name: str, run: Path) -> None:
    """One window is enough: every other check is made whichever is drawn."""
    named, change = CHANGED[name]
    change(run)
    faults = verify(run, spot=1, seed=0).faults
    assert any(named in fault for fault in faults), faults


def test_changed_labels_are_named(semi_supervised: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(semi_supervised, tmp_path / "run"))
    assert verify(run, spot=1, seed=0).faults == []
    in_json("labels.json", lambda c: c["indices"].reverse())(run)
    assert any("labels.json" in fault for fault in verify(run, spot=1, seed=0).faults)
    forge_hashes(run)
    faults = verify(run, spot=1, seed=0).faults
    assert any("labelled images are not the run's" in fault for fault in faults)


@pytest.mark.parametrize("name", mostly_slow(HASHLESS, "weight of a link"))
def test_rewritten_hashes_do_not_help(name: str, run: Path) -> None:
    """By --full, whatever was changed; a link's weight by its window too."""
    CHANGED[name][1](run)
    forge_hashes(run)
    assert verify(run, full=True).faults, name


@pytest.fixture(scope="module")
def forged(linked_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The honest run with a segment of another learning rate from step 16 on, all hashes rewritten.

    Its checkpoints, metrics and table are those of that training, their settings the honest ones.
    """
    folder = tmp_path_factory.mktemp("forged")
    other = fit(folder / "other", trainer__max_epochs=2, model__optimizer__lr=0.004)
    run = Path(shutil.copytree(linked_run, folder / "run"))
    stamp = torch.load(run / LAST, weights_only=True)["genlab"]
    books = [runs.read_json(r / "links/links.json") for r in (run, other)]
    assert [one["step"] for one in books[0]["links"]] == [0, 8, 16, 24, 32]
    books[0]["links"][3:] = books[1]["links"][3:]
    runs.write_json(run / "links/links.json", books[0])
    for name in (NEXT, "links/step-00000032.ckpt", LAST, BEST):
        content = torch.load(other / name, weights_only=True)
        for group in content["optimizer_states"][0]["param_groups"]:
            group["peak_lr"] = 0.003
        torch.save(content | {"genlab": stamp}, run / name)
    for name in ("metrics.json", "metrics.csv"):
        shutil.copy(other / name, run / name)
    forge_hashes(run)
    return run


def test_a_forged_segment_is_always_refused_by_full(forged: Path) -> None:
    faults = verify(forged, full=True).faults
    assert any(
        fault.startswith("links/step-00000024.ckpt from links/step-00000016") for fault in faults
    )
    assert any("another state, first in " in fault for fault in faults)


@pytest.mark.slow
@pytest.mark.parametrize("drawn", [1, 2, 3])
def test_a_forged_segment_is_refused_by_spots_with_the_stated_probability(
    forged: Path, drawn: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over every possible draw: 2 of the 5 windows are false."""
    from itertools import combinations
    from random import Random

    refused = []
    for draw in combinations(range(5), drawn):
        with monkeypatch.context() as patch:
            patch.setattr(Random, "sample", lambda _, windows, n, d=draw: [windows[k] for k in d])
            refused.append(bool(verify(forged, spot=drawn, seed=0).faults))
    assert sum(refused) / len(refused) == pytest.approx(chance(5, 2, drawn))


def test_optimiser_options_of_a_link_are_the_recipes(run: Path) -> None:
    content = torch.load(run / LINK, weights_only=True)
    content["optimizer_states"][0]["param_groups"][0]["peak_lr"] = 0.004
    torch.save(content, run / LINK)
    forge_hashes(run)
    faults = verify(run, spot=5, seed=0).faults
    assert any("peak_lr is 0.004, the recipe's 0.003" in fault for fault in faults)


def test_a_run_without_links_has_its_files_and_metrics_compared(
    digits_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(digits_run, tmp_path / "run"))
    report = verify(run)
    assert not report.faults
    assert report.seed is None
    assert any("keeps no links" in line for line in report.unproved)
    in_json("metrics.json", lambda c: c.update({"test/kl": 1.0}))(run)
    assert verify(run).faults
    flip(run / "checkpoints/best.ckpt")
    assert len(verify(run).faults) > 1


@pytest.mark.slow
def test_a_continued_run_whose_settings_changed_is_checked_from_there(run: Path) -> None:
    session.fit(settings={"trainer.max_epochs": 3}, resume=run)
    report = verify(run, full=True)
    assert report.faults == []
    assert "steps before 40, where settings or code were changed" in report.unproved


@pytest.mark.slow
def test_links_that_were_removed_are_told(run: Path) -> None:
    (run / LINK).unlink()
    report = verify(run, full=True)
    assert report.faults == []
    assert "1 of 5 links: their files are gone" in report.unproved


@pytest.mark.parametrize(
    "words",
    [["--spot", "0"], ["--full", "--spot", "3"], ["--full", "--seed", "1"], ["--spots", "3"]],
)
def test_wrong_words_are_refused(words: list[str], run: Path) -> None:
    with pytest.raises(InputError):
        cli.run(["verify", str(run), *words])


def test_a_run_that_has_not_ended_is_refused(run: Path) -> None:
    handle = runs.lock(run)
    with pytest.raises(InputError, match="is being trained"):
        verify(run)
    handle.close()
    (run / "metrics.json").unlink()
    with pytest.raises(InputError, match="has not ended"):
        verify(run)


@pytest.mark.slow
def test_another_machine_compares_within_a_tolerance(run: Path) -> None:
    book = runs.read_json(run / "links/links.json")
    book["machine"]["processor"] = "another"
    book["links"][3]["state"] = "0" * 64
    runs.write_json(run / "links/links.json", book)
    files.seal(run)
    report = verify(run, full=True)
    told = [line for line in report.unproved if "of the way apart" in line]
    assert told == [
        "links/step-00000024.ckpt from links/step-00000016.ckpt: other bits, 0.0% of the way apart"
    ]


def test_other_code_is_told_first_and_nothing_is_trained(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("genlab.recipes.kept_fingerprints.Kept.of_recipe", lambda *_: "0" * 64)
    report = verify(run)
    assert report.faults == []
    assert report.unproved[0].startswith("the training itself: code, settings or versions here")
    assert report.trained == 0
    assert cli.run(["verify", str(run)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("no fault")


def test_seed_and_fingerprint_of_run_json_are_compared(run: Path) -> None:
    in_json("run.json", lambda c: c.update(seed=5, fingerprint="0" * 64))(run)
    faults = verify(run, spot=1, seed=0).faults
    assert "run.json: the seed is 5, recipe.yaml's 0" in faults
    assert "run.json: its fingerprint is not that of last.ckpt" in faults


def test_steps_of_several_processes_are_not_trained_again(run: Path) -> None:
    in_json(BOOK, lambda c: c["machine"].update(processes=2))(run)
    files.seal(run)
    report = verify(run)
    assert report.faults == []
    assert any("trained by 2 processes" in line for line in report.unproved)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_honest_runs_of_every_family_are_accepted(family: str, tmp_path: Path) -> None:
    words = (*FAMILIES[family], *_needs(tmp_path, FAMILIES[family]))
    more = ("track.links=4", "track.wandb=off", "trainer.accelerator=cpu", f"track.runs={tmp_path}")
    assert cli.run(["fit", *words, *more]) in (0, None)
    made = next(p.parent for p in tmp_path.glob("**/links.json")).parent
    for full in (False, True):
        report = verify(made, full=full, seed=None if full else 0)
        assert report.faults == []
        assert any("trained again come to the same states" in line for line in report.shown)
