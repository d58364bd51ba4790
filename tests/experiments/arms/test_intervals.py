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


def test_shares_of_variance_are_those_of_the_f_test() -> None:
    generator = np.random.default_rng(2)
    levels = [{"a": a, "b": b} for a in "xyz" for b in "uv"]
    values = generator.normal(size=(5, 6)) + np.array([0, 0, 2, 2, 1, 1])
    found = intervals.shares(values, levels)
    groups = [values[:, [2 * k, 2 * k + 1]].ravel() for k in range(3)]
    f = stats.f_oneway(*groups).statistic  # F = (share / 2) / ((1 - share) / (30 - 3))
    assert found["a"] == pytest.approx(2 * f / (2 * f + 27))


def test_shares_of_an_additive_design_are_exact() -> None:
    levels = [{"a": a, "b": b} for a in "xy" for b in "uv"]
    values = np.array([[0.0, 1.0, 3.0, 4.0]] * 5)  # 3 of a, 1 of b: squares 9 and 1
    assert intervals.shares(values, levels) == pytest.approx({"a": 0.9, "b": 0.1})
    found = intervals.share(values, levels, "a", "b", 0.95)
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.8, 0.8))
    assert intervals.share(values, levels, "a", 0.5, 0.95).value == pytest.approx(0.4)
