"""Shipped studies: settings that resolve, metrics that exist, predictions older than results."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from genlab import recipes
from genlab.describing import metrics
from genlab.experiments.arms import controls, equality, question_files
from genlab.experiments.arms.expansion import Expansion
from genlab.experiments.arms.question import Question
from genlab.experiments.arms.reading import JUDGED, PARAMETERS, PROBED
from genlab.experiments.arms.results import DIVERGED, SECONDS, Results, Values
from genlab.experiments.arms.summary import page
from genlab.experiments.arms.verdicts import EQUAL, NOT_RUN, UNDECIDED, YES, verdict
from genlab.experiments.arms.work import work

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "docs" / "studies"
NAMES = sorted(question_files.shipped())
QUICK = "stop_gradient"  # whose two deciding arms train two steps in the normal tests
ROUNDS = 20  # of each study
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
    short = [replace(arm, steps=2 if arm.steps else None) for arm in kept]
    first = replace(question, seeds=question.seeds[:1], arms=short, steps=2, evaluate={})
    read = [one for one in question.reads if not JUDGED.fullmatch(one)]
    results = Results(replace(first, reads=read), tmp_path)
    if any("tokenizer" in one.arguments("model") for one in results.expansion.recipes.values()):
        pytest.skip("requires a run of its tokenizer")
    assert work(results, [(arm.name, first.seeds[0]) for arm in first.arms]) == 0
    assert not [m["failed"] for cell in results.cells if "failed" in (m := results.metrics(cell))]
    assert verdict(question, results.values()).answer == NOT_RUN


@pytest.mark.parametrize("name", [n for n in NAMES if (PAGES / f"{n}.json").exists()])
def test_prediction_and_decision_are_older_than_the_first_result(name: str) -> None:
    file, data = f"recipes/studies/{name}.yaml", f"docs/studies/{name}.json"
    if _git("rev-parse", "--is-shallow-repository") != "false":
        pytest.skip("requires git's history")
    added = _git("log", "--diff-filter=A", "--format=%H", "--", data).split()
    if not added:
        pytest.skip(f"{data} is not committed")
    before = recipes.parse(recipes.split(_git("show", f"{added[-1]}^:{file}") + "\n")[1], file)
    today = recipes.read(ROOT / file)
    for key in ("question", "prediction", "decides"):
        assert before.get(key), f"{key} is as young as the first result"
        assert before[key] == today[key], f"{key} is not what it was before the first result"


def answered() -> list[tuple[Question, Values]]:
    """Studies whose results are committed, with them."""
    found = []
    for name in (n for n in NAMES if (PAGES / f"{n}.json").exists()):
        results = Results(question_files.read(question_files.shipped()[name]), PAGES, PAGES)
        found.append((results.question, results.values()))
    return found


@pytest.mark.parametrize("name", [n for n in NAMES if (PAGES / f"{n}.md").exists()])
def test_a_page_is_that_of_the_results_next_to_it(name: str) -> None:
    results = Results(question_files.read(question_files.shipped()[name]), PAGES, PAGES)
    assert (PAGES / f"{name}.md").read_text() == page(results, PAGES / f"{name}.md")


def test_controls_over_all_answered_studies() -> None:
    studies = answered()
    if not studies:
        pytest.skip("no study has results")
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


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()
