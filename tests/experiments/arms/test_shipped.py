"""Shipped studies: settings that resolve, metrics that exist, predictions older than results."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genlab.describing import metrics
from genlab.experiments.arms import controls, equality, question_files
from genlab.experiments.arms.expansion import Expansion
from genlab.experiments.arms.question import Question
from genlab.experiments.arms.reading import JUDGED, PARAMETERS, PROBED
from genlab.experiments.arms.results import DIVERGED, SECONDS, Results, Values
from genlab.experiments.arms.summary import page
from genlab.experiments.arms.verdicts import EQUAL, NOT_RUN, UNDECIDED, YES, verdict
from genlab.experiments.arms.work import work
from tests.experiments.arms import meant
from tests.experiments.arms.history import changed_after_results, git
from tests.experiments.arms.made import MISSING, write

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "studies"
NAMES = sorted(question_files.shipped())
QUICK = "stop_gradient"  # whose two deciding arms train two steps in the normal tests
ROUNDS = 10  # of each study
OF_RUNS = (DIVERGED, SECONDS, PARAMETERS)


@pytest.mark.parametrize("name", NAMES)
def test_arms_resolve_and_differ_and_metrics_are_known(name: str) -> None:
    question = question_files.read(question_files.shipped()[name])
    assert question.name == name
    assert question.head.run == f"genlab study run {name}"
    assert question.head.cost
    assert question.question.endswith("?")
    expansion = Expansion(question)
    assert all(expansion.differing().values())
    known = [one for one in question.reads if PROBED.fullmatch(one) or one in OF_RUNS]
    known += [one for one in question.reads if JUDGED.fullmatch(one) and question.evaluate]
    for read in set(question.reads) - set(known):
        twin = read.replace("test/", "val/", 1)
        assert metrics.definitions(read) or metrics.definitions(twin), read
    if any("tokenizer" in one.arguments("model") for one in expansion.recipes.values()):
        return  # its method cannot be built without a run of it
    alike = equality.check(expansion)
    for what in {"steps", "images"} & set(question.equal):
        assert len(alike[what]) == len(question.arms), what


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n == QUICK else pytest.mark.slow) for n in NAMES]
)
def test_every_arm_runs_two_steps(name: str, tmp_path: Path) -> None:
    question = question_files.read(question_files.shipped()[name])
    kept = [arm for arm in question.arms if name != QUICK or arm.name in question.decides.arms]
    short = [  # arms may differ in their steps alone
        replace(arm, steps=2 + place if arm.steps else None) for place, arm in enumerate(kept, 1)
    ]
    first = replace(question, seeds=question.seeds[:1], arms=short, steps=2)
    if "judge" in question.evaluate:  # a run of its own, which there is not
        read = [one for one in question.reads if not JUDGED.fullmatch(one)]
        decides = replace(question.decides, figure=read[0], figures=[])
        first = replace(first, evaluate={}, reads=read, decides=decides)
    results = Results(first, tmp_path)
    if any("tokenizer" in one.arguments("model") for one in results.expansion.recipes.values()):
        pytest.skip("requires a run of its tokenizer")
    assert work(results, [(arm.name, first.seeds[0]) for arm in first.arms]) == 0
    assert not [m["failed"] for cell in results.cells if "failed" in (m := results.metrics(cell))]
    assert verdict(question, results.values()).answer == NOT_RUN


def test_studies_are_older_than_their_first_results() -> None:
    if git(ROOT, "rev-parse", "--is-shallow-repository") != "false":
        pytest.skip("requires git's history")
    assert not [said for name in NAMES for said in changed_after_results(ROOT, name)]


def test_history_tells_what_was_changed_after_the_first_result(tmp_path: Path) -> None:
    folder, pages = tmp_path / "recipes" / "studies", tmp_path / "docs" / "studies"
    folder.mkdir(parents=True)
    pages.mkdir(parents=True)
    git(tmp_path, "init")

    def commit(**changed: Any) -> list[str]:
        write(folder, **changed)
        git(tmp_path, "add", "-A")
        git(tmp_path, "commit", "-m", "a word")
        return changed_after_results(tmp_path, "small")

    commit(steps=MISSING, budget={"seconds": 5})
    assert commit(budget={"seconds": 5}) == []  # steps by `study bench`, before any result
    (pages / "small.json").write_text("{}")
    assert changed_after_results(tmp_path, "small") == []  # not committed
    assert commit(budget={"seconds": 5}) == []
    (pages / "small.json").write_text('{"a": {}}')
    assert commit(budget={"seconds": 5}) == []
    for key, value in {
        "steps": 3, "seeds": [*range(6)], "settings": [], "arms": {"fast": [], "slow": []},
        "decides": {"kind": "rate"}, "prediction": {"expect": "lower"}, "question": "Other?",
    }.items():  # fmt: skip
        assert commit(**({"budget": {"seconds": 5}} | {key: value})) == [
            f"small: {key} was changed after the first result"
        ]
    assert commit() == ["small: budget was changed after the first result"]


def test_a_study_of_the_commit_of_its_result_is_too_young(tmp_path: Path) -> None:
    for folder in ("recipes", "docs"):
        (tmp_path / folder / "studies").mkdir(parents=True)
    write(tmp_path / "recipes" / "studies")
    (tmp_path / "docs" / "studies" / "small.json").write_text("{}")
    for words in (["init"], ["add", "-A"], ["commit", "-m", "a word"]):
        git(tmp_path, *words)
    assert changed_after_results(tmp_path, "small") == ["small: no older than its first result"]


def answered() -> list[tuple[Question, Values]]:
    """Studies whose results are committed, with them."""
    found = []
    for name in (n for n in NAMES if (PAGES / f"{n}.json").exists()):
        results = Results(question_files.read(question_files.shipped()[name]), PAGES, PAGES)
        found.append((results.question, results.values()))
    return found


def test_a_page_is_that_of_the_results_next_to_it() -> None:
    for file in (PAGES / f"{name}.md" for name in NAMES):
        if file.exists():
            question = question_files.read(question_files.shipped()[_name(file)])
            assert file.read_text() == page(Results(question, PAGES, PAGES), file), file


def _name(page: Path) -> str:
    return page.relative_to(PAGES).with_suffix("").as_posix()


def test_controls_over_all_studies() -> None:
    files = question_files.shipped()
    questions = [question_files.read(files[name]) for name in NAMES]
    studies = [*answered(), *((question, meant.yes(question)) for question in questions)]
    generator = np.random.default_rng(0)
    shuffled = [
        verdict(question, controls.shuffled(question, values, generator)).answer
        for question, values in studies
        for _ in range(ROUNDS)
        if question.decides.kind != "share"
        or question.decides.against == 0
        or isinstance(question.decides.against, str)  # a share above a number has another null
    ]
    assert sum(one in (UNDECIDED, EQUAL) for one in shuffled) >= 0.9 * len(shuffled)
    differences = [one for one in studies if one[0].decides.kind == "difference"]
    planted = [
        verdict(question, controls.planted(question, values, generator)).answer
        for question, values in differences
        for _ in range(ROUNDS)
    ]
    assert planted.count(YES) >= 0.9 * len(planted)
    for question, values in differences:
        found = verdict(question, controls.level(question, values, generator))
        assert found.estimate is not None
        narrow = found.estimate.high - found.estimate.low < question.decides.margin
        assert found.answer == EQUAL or not narrow
