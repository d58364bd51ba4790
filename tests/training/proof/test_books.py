"""Links that are not there, or have other windows than they must have."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genlab import runs
from genlab.training.engine.links import is_book, spacing
from genlab.training.proof import books, files
from genlab.training.proof.report import Report
from genlab.training.verify import verify
from tests.training.proof.forging import BOOK, in_json

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")


@pytest.fixture
def run(linked_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(linked_run, tmp_path / "run"))


def faults(run: Path, change: Callable[[dict[str, Any]], Any]) -> list[str]:
    report = Report()
    in_json(BOOK, change)(run)
    book = runs.read_json(run / BOOK)
    assert is_book(book)
    books.check(run, book, report)
    return report.faults


def test_links_of_an_honest_run_are_those_it_must_have(run: Path) -> None:
    assert faults(run, lambda c: None) == []


def test_an_entry_that_was_removed_is_a_fault(run: Path) -> None:
    found = faults(run, lambda c: c["links"].pop(2))
    assert found == ["links/links.json has no link of step 16"]


def test_all_entries_but_the_last_are_not_enough(run: Path) -> None:
    """With files and hashes that agree; nothing but the lack of them tells."""
    in_json(BOOK, lambda c: c.update(links=c["links"][-1:]))(run)
    for step in (8, 16, 24):
        (run / f"links/step-{step:08d}.ckpt").unlink()
    files.seal(run)
    report = verify(run, spot=1, seed=0)
    assert "links/links.json has no link of step 0" in report.faults
    assert report.verdict.startswith("refused")


def test_a_window_without_its_state_or_of_another_length_is_a_fault(run: Path) -> None:
    found = faults(run, lambda c: c["links"][1].update(later=None))
    found += faults(run, lambda c: c["links"][2].update(after=7))
    name = "links/links.json: the link of step"
    assert f"{name} 8 lacks the state behind its window" in found
    assert f"{name} 16 has a window of 7 steps" in found


@pytest.mark.parametrize("most", range(1, 9))
def test_steps_that_are_due_are_those_a_training_keeps(most: int) -> None:
    book = {"every": 3, "most": most, "number": 4, "links": list[Any]()}
    kept = [0]
    for step in range(1, 200):
        assert list(books._due(book, step)) == kept
        if step % (every := spacing(book, step)) == 0:
            kept = [*(one for one in kept if one % every == 0), step]


def test_a_book_without_further_links_still_has_no_gaps(run: Path) -> None:
    assert faults(run, lambda c: c.update(most=0)) == []
    assert faults(run, lambda c: c["links"].pop(1)) == ["links/links.json has no link of step 8"]


DAMAGE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a machine that is a list": lambda c: c.update(machine=[]),
    "a file elsewhere": lambda c: c["links"][1].update(file="/etc/passwd"),
    "a file by another path": lambda c: c["links"][1].update(file="x/../step-00000008.ckpt"),
    "a link without a file": lambda c: c["links"][1].update(file=None),
    "an initialisation with one": lambda c: c["links"][0].update(file="step-00000000.ckpt"),
    "a step of true": lambda c: c["links"][1].update(step=True),
    "one link twice": lambda c: c["links"].append(c["links"][-1]),
    "a state of a list": lambda c: c["links"][1].update(state=[]),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_an_odd_book_is_no_book(name: str, run: Path) -> None:
    in_json(BOOK, DAMAGE[name])(run)
    assert not is_book(runs.read_json(run / BOOK))


def test_an_odd_book_is_refused_in_a_line(run: Path) -> None:
    in_json(BOOK, DAMAGE["a file by another path"])(run)
    files.seal(run)
    assert "links/links.json is missing or damaged" in verify(run, spot=1, seed=0).faults


@pytest.mark.slow
def test_odd_facts_are_refused_in_a_line(run: Path) -> None:
    in_json("run.json", lambda c: c.update(parents=[1], history=3))(run)
    in_json("links/files.json", lambda c: c.update(ends={"last.ckpt": [], "best.ckpt": 1}))(run)
    in_json(BOOK, lambda c: c["machine"].update(threads=10**8))(run)
    found = verify(run, full=True).faults
    assert "run.json is damaged: its parents or history" in found
    assert "links/files.json does not tell the state of best.ckpt" in found
