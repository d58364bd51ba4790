"""Verdicts of known truths, and the same procedure on shuffled, planted and equal arms."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genlab.errors import RecipeError
from genlab.experiments.arms import controls
from genlab.experiments.arms.intervals import Estimate
from genlab.experiments.arms.question import Question
from genlab.experiments.arms.results import Results, Values
from genlab.experiments.arms.summary import page
from genlab.experiments.arms.verdicts import (
    EQUAL,
    NO,
    NOT_RUN,
    UNDECIDED,
    YES,
    answer,
    narrowest,
    verdict,
    went,
)  # fmt: skip
from tests.experiments.arms.made import MISSING, STUDY, study, values

DECIDES: dict[str, Any] = STUDY["decides"]  # type: ignore[assignment]
PREDICTION: dict[str, Any] = STUDY["prediction"]  # type: ignore[assignment]
ROUNDS = 100
ENOUGH = 90  # of as many rounds


def test_an_answer_by_its_interval() -> None:
    cases = {(0.3, 0.5): YES, (-0.5, -0.3): NO, (-0.1, 0.5): UNDECIDED, (-0.1, 0.1): EQUAL}
    cases |= {(0.05, 0.1): EQUAL, (0.05, 0.3): YES, (-0.3, 0.05): UNDECIDED}
    for (low, high), expected in cases.items():
        assert answer(Estimate((low + high) / 2, low, high, 5), 0.1) == expected


def test_a_difference_is_paired_by_seed(tmp_path: Path) -> None:
    found = study(tmp_path)
    noise = [0.1, 0.9, 0.3, 0.7, 0.5]  # far above the difference
    better = [value + 0.05 + k / 1000 for k, value in enumerate(noise)]
    result = verdict(found, values(found, fast=better, slow=noise))
    assert result.answer == YES
    assert went(found, result) == "as predicted"
    result = verdict(found, values(found, fast=noise, slow=better))
    assert (result.answer, went(found, result)) == (NO, "against the prediction")
    result = verdict(found, values(found, fast=better, slow=noise[::-1]))
    assert (result.answer, went(found, result)) == (UNDECIDED, "the prediction is open")


def test_few_seeds_are_no_verdict(tmp_path: Path) -> None:
    found = study(tmp_path)
    assert verdict(found, {"fast": {}, "slow": {}}).answer == NOT_RUN
    assert verdict(found, values(found, fast=[1.0], slow=[0.0, 0.1])).answer == NOT_RUN
    four, five = [1.0, 1.1, 1.2, 1.3], [0.0] * 5
    result = verdict(found, values(found, fast=four, slow=five))
    assert (result.answer, result.reason[:12]) == (NOT_RUN, "4 of 5 seeds")
    assert verdict(found, values(found, fast=[*four, 1.1], slow=five)).answer == YES


def test_more_comparisons_need_a_wider_interval(tmp_path: Path) -> None:
    better, worse = [0.5, 0.61, 0.49, 0.63, 0.52], [0.45, 0.5, 0.47, 0.5, 0.5]
    widths = []
    for comparisons in (1, 10):
        found = study(tmp_path, decides=DECIDES | {"comparisons": comparisons})
        result = verdict(found, values(found, fast=better, slow=worse))
        assert result.estimate is not None
        widths.append(result.estimate.high - result.estimate.low)
    from scipy.stats import t

    assert widths[1] / widths[0] == pytest.approx(t.ppf(0.9975, 4) / t.ppf(0.975, 4))


def test_a_run_that_diverged_is_a_result(tmp_path: Path) -> None:
    found = study(tmp_path)
    made = values(found, fast=[0.9, 0.91, 0.92, 0.9, 0.9], slow=[0.5] * 5)
    made["slow"][2] = {"diverged": 1.0}
    result = verdict(found, made)
    assert result.answer == UNDECIDED
    assert "0 of fast, 1 of slow" in result.reason
    chance = study(tmp_path, decides=DECIDES | {"diverged": 0.1})
    assert verdict(chance, made).answer == YES
    made["slow"][2] = {"diverged": 0.0, "val/accuracy": None}  # it ended, and is not finite
    assert "1 of slow" in verdict(found, made).reason
    assert verdict(chance, made).answer == YES
    rate = DECIDES | {"kind": "rate", "event": "diverged > 0.5", "figure": ""}
    rate |= {"diverged": 0.0, "margin": 0.2}
    counted = study(tmp_path, decides=rate, reads=["diverged"])
    every = {"fast": {s: {"diverged": 1.0} for s in range(5)}}
    every["slow"] = {s: {"diverged": 0.0} for s in range(5)}
    result = verdict(counted, every)
    assert result.answer == YES
    assert result.estimate is not None
    assert result.estimate.low == pytest.approx(1 - 2**0.5 * 0.43448, abs=1e-4)  # Wilson, 0 of 5


def test_rates_of_an_event(tmp_path: Path) -> None:
    event = "val/accuracy < 0.2"
    decides = {"kind": "rate", "arms": ["fast", "slow"], "event": event, "margin": 0.1}
    found = study(tmp_path, decides=decides)
    made = values(found, fast=[0.1] * 5, slow=[0.1, 0.9, 0.9, 0.9, 0.9])
    assert verdict(found, made).answer == YES
    made = values(found, fast=[0.1] * 3 + [0.9] * 2, slow=[0.1, 0.9, 0.9, 0.9, 0.9])
    assert verdict(found, made).answer == UNDECIDED


def test_the_narrowest_interval_is_that_of_the_numbers_of_runs(tmp_path: Path) -> None:
    rate = {"kind": "rate", "arms": ["fast", "slow"], "event": "val/accuracy < 0.2", "margin": 0.2}
    found = study(tmp_path, decides=rate)
    assert narrowest(found) == pytest.approx(0.43448, abs=1e-4)  # Wilson, 0 of 5
    assert "No result of so few runs is equal within it: intervals are ±0.43" in page(
        Results(found, tmp_path)
    )
    assert narrowest(study(tmp_path)) is None
    equal = PREDICTION | {"expect": "equal"}
    with pytest.raises(RecipeError, match=r"expect equal requires a margin of 0.434 or more"):
        study(tmp_path, decides=rate, prediction=equal)
    found = study(tmp_path, decides=rate | {"margin": 0.44}, prediction=equal)
    assert verdict(found, values(found, fast=[0.9] * 5, slow=[0.9] * 5)).answer == EQUAL


def test_correlations_and_shares(tmp_path: Path) -> None:
    arms = {f"a{k}": [f"model.lr={k + 1}"] for k in range(5)}
    decides = {"kind": "correlation", "figures": ["val/accuracy", "seconds"], "margin": 0.2}
    found = study(tmp_path, arms=arms, decides=decides)
    rows: Values = {
        f"a{k}": {s: {"val/accuracy": k + s / 100, "seconds": -k} for s in range(5)}
        for k in range(5)
    }
    assert verdict(found, rows).answer == NO
    grid = {"model.lr": [1, 2], "data.batch_size": [3, 4]}
    share = {"kind": "share", "figure": "val/accuracy", "factor": "model.lr", "margin": 0.1}
    share["against"] = "data.batch_size"
    found = study(tmp_path, arms=MISSING, grid=grid, decides=share)
    rows = {
        arm.name: {s: {"val/accuracy": 5 * (k // 2) + k % 2 + s / 100} for s in range(5)}
        for k, arm in enumerate(found.arms)
    }
    assert verdict(found, rows).answer == YES


def test_a_yes_may_be_the_lower(tmp_path: Path) -> None:
    found = study(tmp_path, decides=DECIDES | {"yes_if": "lower"})  # expect: higher
    low, high = [0.1, 0.11, 0.12, 0.1, 0.1], [0.9] * 5
    result = verdict(found, values(found, fast=low, slow=high))
    assert (result.answer, went(found, result)) == (YES, "against the prediction")
    result = verdict(found, values(found, fast=high, slow=low))
    assert (result.answer, went(found, result)) == (NO, "as predicted")
    assert counted(found, values(found, fast=low, slow=high), controls.planted)[YES] >= ENOUGH


def test_metrics_of_arms_without_a_relation_are_undecided(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arms = {f"a{k}": [f"model.lr={k + 1}"] for k in range(6)}
    decides = {"kind": "correlation", "figures": ["val/accuracy", "seconds"], "margin": 0.2}
    found = study(tmp_path, arms=arms, decides=decides)
    answers = Counter[str]()
    for _ in range(60):
        rows: Values = {}
        for arm in arms:
            one, two = generator.normal(size=2)  # effects of the arm, which seeds hardly blur
            rows[arm] = {
                s: {"val/accuracy": one + n1, "seconds": two + n2}
                for s, (n1, n2) in enumerate(0.01 * generator.normal(size=(5, 2)))
            }
        answers[verdict(found, rows).answer] += 1
    assert answers[UNDECIDED] >= 54


@pytest.mark.parametrize("against", [0.0, "data.batch_size"])
def test_shuffled_arms_have_no_share(tmp_path: Path, against: float | str) -> None:
    generator = np.random.default_rng(0)
    grid = {"model.lr": [1, 2, 3, 4, 5], "data.batch_size": [3, 4]}
    share = {"kind": "share", "figure": "val/accuracy", "factor": "model.lr", "margin": 0.1}
    found = study(tmp_path, arms=MISSING, grid=grid, decides=share | {"against": against})
    rows: Values = {
        arm.name: {s: {"val/accuracy": k // 2 + generator.normal() / 10} for s in range(5)}
        for k, arm in enumerate(found.arms)
    }
    assert verdict(found, rows).answer == YES
    assert counted(found, rows, controls.shuffled)[UNDECIDED] >= ENOUGH


def synthetic(place: Path, shift: float, margin: float = 0.02) -> tuple[Question, Values]:
    """A study whose seeds differ far more than its arms, with noise of 0.005 between pairs."""
    generator = np.random.default_rng(0)
    seeds, noise = generator.normal(0.8, 0.1, 5), generator.normal(0, 0.005, 5)
    found = study(place, decides=DECIDES | {"margin": margin})
    return found, values(found, fast=list(seeds + shift + noise), slow=list(seeds))


def counted(question: Question, made: Values, change: Any) -> Counter[str]:
    generator = np.random.default_rng(1)
    return Counter(
        verdict(question, change(question, made, generator)).answer for _ in range(ROUNDS)
    )


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_shuffled_arms_are_undecided_or_equal(tmp_path: Path, shift: float) -> None:
    found = counted(*synthetic(tmp_path, shift), controls.shuffled)
    assert found[UNDECIDED] + found[EQUAL] >= ENOUGH


@pytest.mark.parametrize("shift", [0.0, 0.1])
def test_a_planted_difference_is_found_and_equal_arms_are_equal(
    tmp_path: Path, shift: float
) -> None:
    question, made = synthetic(tmp_path, shift)
    assert counted(question, made, controls.planted)[YES] >= ENOUGH
    assert counted(question, made, controls.level)[EQUAL] >= ENOUGH
    noisy = study(tmp_path, decides=DECIDES | {"margin": 0.001})  # less than noise can tell
    assert counted(noisy, made, controls.level)[EQUAL] == 0


def test_two_metrics_of_one_arm(tmp_path: Path) -> None:
    decides = {"kind": "difference", "arms": ["fast"], "figures": ["val/knn", "val/accuracy"]}
    found = study(tmp_path, decides=decides | {"margin": 0.02})
    rows = [{"val/knn": 0.9 + s / 1000, "val/accuracy": 0.5 - s / 1000} for s in range(5)]
    made: Values = {"fast": dict(enumerate(rows)), "slow": {}}
    result = verdict(found, made)
    assert result.answer == YES
    assert result.estimate is not None
    assert result.estimate.value == pytest.approx(0.404)
    assert counted(found, made, controls.shuffled)[UNDECIDED] >= ENOUGH
    assert counted(found, made, controls.planted)[YES] >= ENOUGH
    assert counted(found, made, controls.level)[EQUAL] >= ENOUGH


def test_shuffling_keeps_every_value_of_a_seed(tmp_path: Path) -> None:
    question, made = synthetic(tmp_path, 0.1)
    mixed = controls.shuffled(question, made, np.random.default_rng(0))
    for seed in question.seeds:
        both = [{one[arm][seed]["val/accuracy"] for arm in one} for one in (made, mixed)]
        assert both[0] == both[1]
    assert mixed != made
