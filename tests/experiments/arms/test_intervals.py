"""Intervals against published examples, other formulas, and their own coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from genlab.experiments.arms import intervals


def test_students_interval_of_a_textbook_sample() -> None:
    sleep = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]  # Student 1908, drug 2 minus 1
    found = intervals.difference(sleep, 0.95)
    assert (found.value, found.low, found.high) == pytest.approx((1.58, 0.7001, 2.4599), abs=1e-4)
    assert found.count == 10


def test_hedges_factor_of_four_degrees_of_freedom() -> None:
    pairs = [1.0, 2.0, 3.0, 4.0, 5.0]  # mean over deviation 1.8974; Hedges 1981: c(4) = 0.7979
    assert intervals.hedges(pairs) == pytest.approx(0.7979 * 3 / 2.5**0.5, rel=1e-4)
    assert intervals.hedges([1.0, 1.0, 1.0]) is None


def test_equal_pairs_have_an_interval_of_no_width() -> None:
    for bootstrap in (False, True):
        found = intervals.difference([0.25] * 5, 0.95, bootstrap)
        assert (found.value, found.low, found.high, found.effect) == (0.25, 0.25, 0.25, None)
    with pytest.raises(ValueError, match="2 pairs"):
        intervals.difference([1.0], 0.95)


def test_a_bootstrap_interval_is_reproducible_and_about_students_of_many_pairs() -> None:
    pairs = list(np.random.default_rng(1).normal(1, 1, 60))
    one, two = (intervals.difference(pairs, 0.95, bootstrap=True) for _ in range(2))
    assert one == two
    student = intervals.difference(pairs, 0.95)
    assert (one.low, one.high) == pytest.approx((student.low, student.high), abs=0.05)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    [  # Newcombe 1998, table II, method 10
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0),
    ],
)
def test_newcombes_examples(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    runs = [[True] * events + [False] * (count - events) for events, count in (first, second)]
    found = intervals.rates(runs[0], runs[1], 0.95)
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


def test_a_correlation_is_scipys_of_the_means_and_its_interval_widens_with_noise() -> None:
    generator = np.random.default_rng(0)
    truth = np.arange(6.0)
    widths = []
    for noise in (0.1, 3.0):
        one, two = (truth + noise * generator.normal(size=(5, 6)) for _ in range(2))
        found = intervals.correlation(one, two, 0.95)
        assert found.value == pytest.approx(stats.spearmanr(one.mean(0), two.mean(0)).statistic)
        widths.append(found.high - found.low)
    assert widths[0] < widths[1]
    assert intervals.correlation(one, np.zeros((5, 6)), 0.95).value == 0


def test_a_correlation_of_few_arms_is_not_sure() -> None:
    low, high = intervals.over_arms(0.0, 19, 0.95)
    assert (low, high) == pytest.approx((-np.tanh(0.48999), np.tanh(0.48999)), abs=1e-5)
    assert intervals.over_arms(1.0, 4, 0.95)[0] < 0 < intervals.over_arms(1.0, 5, 0.95)[0]
    with pytest.raises(ValueError, match="4 arms"):
        intervals.over_arms(1.0, 3, 0.95)
    ranks = np.tile(np.arange(5.0), (5, 1))  # without any noise of seeds
    found = intervals.correlation(ranks, ranks[:, [0, 1, 2, 4, 3]], 0.95)
    assert found.value == pytest.approx(0.9)
    assert found.low < 0


def test_shares_leave_out_what_noise_adds() -> None:
    generator = np.random.default_rng(2)
    levels = [{"a": a, "b": b} for a in "xyz" for b in "uv"]
    effects = np.array([0, 0, 1, 1, 2, 2]) * 1.5**0.5  # variance 1 of a, none of b
    found = []
    for _ in range(400):
        noise = generator.normal(size=(5, 6)) + 2**0.5 * generator.normal(size=(5, 1))
        found.append(intervals.shares(effects + noise, levels))
    means = [np.mean([one[name] for one in found]) for name in "ab"]
    assert means == pytest.approx([1 / (1 + 1 + 2), 0], abs=0.03)  # of a, noise and seeds


def test_a_share_of_noise_is_no_share() -> None:
    generator = np.random.default_rng(0)
    levels = [{"a": a, "b": b} for a in "vwxyz" for b in "uv"]
    for against in (0.0, "b"):
        found = [
            intervals.share(generator.normal(size=(5, 10)), levels, "a", against, 0.95)
            for _ in range(100)
        ]
        assert sum(one.low <= 0 <= one.high for one in found) >= 90
    with pytest.raises(ValueError, match="3 seeds"):
        intervals.share(np.zeros((2, 10)), levels, "a", 0.0, 0.95)


def test_shares_of_an_additive_design_are_exact() -> None:
    levels = [{"a": a, "b": b} for a in "xy" for b in "uv"]
    values = np.array([[0.0, 1.0, 3.0, 4.0]] * 5)  # 3 of a, 1 of b: squares 9 and 1
    assert intervals.shares(values, levels) == pytest.approx({"a": 0.9, "b": 0.1})
    found = intervals.share(values, levels, "a", "b", 0.95)
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.8, 0.8))
    assert intervals.share(values, levels, "a", 0.5, 0.95).value == pytest.approx(0.4)
