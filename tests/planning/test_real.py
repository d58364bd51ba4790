"""Plans against real trainings on a CPU: memory, arithmetic and what processes send."""

from __future__ import annotations

import pytest

from genlab.planning.fake import fake_step
from genlab.testing.ranks import Ranks
from tests.planning.accuracy import CASES, WORLDS, planned, really_sent, recipe_of
from tests.planning.profiled import profiled_peak
from tests.planning.real import real_step

SMALL = [("moco/digits",), ("wgan_gp/digits",)]
KEPT = "linear/digits", "model.encoder=small_cnn"


def name(words: tuple[str, ...]) -> str:
    return "-".join(words)


def compare(words: tuple[str, ...]) -> None:
    plan, real = fake_step(recipe_of(words)), real_step(recipe_of(words))
    assert plan.peak == pytest.approx(real.peak, rel=0.03)
    assert sum(plan.flops.values()) == pytest.approx(sum(real.flops.values()), rel=0.001)
    assert (plan.images, plan.world) == (real.images, 1)


@pytest.mark.parametrize("words", SMALL, ids=name)
def test_a_real_step_costs_what_the_plan_says(words: tuple[str, ...]) -> None:
    compare(words)


def test_features_of_all_images_and_states_of_metrics_are_planned() -> None:
    plan, seen = fake_step(recipe_of(KEPT)), profiled_peak(recipe_of(KEPT))
    features = plan.memory["features"]
    assert features == (1297 + 200) * (512 * 4 + 2 * 8)
    assert plan.memory["metrics"] >= 2 * 2 * 10 * 2048 * 8  # AUROC's bins, and its zeros
    assert plan.peak == pytest.approx(seen.all, rel=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("words", CASES, ids=name)
def test_a_real_step_of_each_family_costs_what_the_plan_says(
    words: tuple[str, ...], data_root: object
) -> None:
    compare(words)


@pytest.mark.slow
@pytest.mark.parametrize("words", CASES, ids=name)
def test_the_profiler_sees_the_planned_peak(words: tuple[str, ...], data_root: object) -> None:
    seen = profiled_peak(recipe_of(words))
    plan = fake_step(recipe_of(words)).peak
    assert plan == pytest.approx(seen.all, rel=0.05)
    assert plan == pytest.approx(seen.results, rel=0.05)


@pytest.mark.ddp
def test_two_processes_send_what_the_plan_says(ranks: Ranks) -> None:
    words = ("moco/digits",)
    assert planned(words, 2) == really_sent(ranks, words, 2)


@pytest.mark.slow
@pytest.mark.ddp
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("words", CASES, ids=name)
def test_processes_of_each_family_send_what_the_plan_says(
    words: tuple[str, ...], world: int, ranks: Ranks, data_root: object
) -> None:
    assert planned(words, world) == really_sent(ranks, words, world)
