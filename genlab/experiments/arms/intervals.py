"""Estimates with intervals: paired differences, rates, rank correlations, shares of variance.

All intervals are of a level such as 0.95. No torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import atanh, gamma, sqrt, tanh
from statistics import mean, stdev

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000  # of seeds, for an interval by bootstrap
ROUNDING = 1e-12  # of the largest value
Levels = Mapping[str, str]  # level of each factor


@dataclass(frozen=True)
class Estimate:
    """A value with its interval.

    Args:
        value: the estimate.
        low: lower end of its interval.
        high: upper end.
        count: number of seeds, or of pairs.
        effect: Hedges' g of paired differences; None of other estimates and of a spread of 0.
    """

    value: float
    low: float
    high: float
    count: int
    effect: float | None = None


def difference(pairs: Sequence[float], level: float, bootstrap: bool = False) -> Estimate:
    """Mean of paired differences, by Student's t or by the BCa bootstrap.

    Args:
        pairs: difference of each seed, two or more.
        level: level of the interval.
        bootstrap: True for Efron's BCa interval; with five seeds it is narrower than it says.

    Raises:
        ValueError: fewer than two pairs.
    """
    if len(pairs) < 2:
        raise ValueError(f"a difference requires 2 pairs, got {len(pairs)}")
    from scipy import stats

    middle, spread = mean(pairs), _spread(pairs)
    low = high = middle
    if spread and bootstrap:
        found = stats.bootstrap(
            (np.asarray(pairs),), np.mean, confidence_level=level, n_resamples=RESAMPLES,
            method="BCa", random_state=np.random.default_rng(0),
        ).confidence_interval  # fmt: skip
        low, high = float(found.low), float(found.high)
    elif spread:
        half = half_width(pairs, level)
        low, high = middle - half, middle + half
    return Estimate(middle, low, high, len(pairs), hedges(pairs))


def half_width(values: Sequence[float], level: float) -> float:
    """Half the width of the interval of a mean by Student's t.

    Args:
        values: two numbers or more.
        level: level of the interval.
    """
    from scipy import stats

    count = len(values)
    return float(stats.t.ppf((1 + level) / 2, count - 1)) * _spread(values) / sqrt(count)


def hedges(pairs: Sequence[float]) -> float | None:
    """Hedges' g of paired differences: mean over standard deviation, without its bias.

    Source: Hedges 1981, doi:10.3102/10769986006002107, the exact factor by gamma functions.
    Departure: it divides by the deviation of the differences, not by that of the groups.
    """
    spread, free = _spread(pairs), len(pairs) - 1
    if not spread or free < 2:
        return None
    factor = gamma(free / 2) / (sqrt(free / 2) * gamma((free - 1) / 2))
    return factor * mean(pairs) / spread


def _spread(pairs: Sequence[float]) -> float:
    """Standard deviation; 0 of values that rounding alone tells apart."""
    spread = stdev(pairs)
    return spread if spread > ROUNDING * max(map(abs, pairs)) else 0.0


def rates(first: Sequence[bool], second: Sequence[bool], level: float) -> Estimate:
    """Difference of two rates, by Newcombe's method 10 from two intervals of Wilson.

    Args:
        first: True for each run of the first arm in which the event came.
        second: the same of the second arm.
        level: level of the interval.

    Source: Newcombe 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I.
    Departure: seeds are not taken as pairs.
    """
    one, low1, high1 = wilson(sum(first), len(first), level)
    two, low2, high2 = wilson(sum(second), len(second), level)
    below = sqrt((one - low1) ** 2 + (high2 - two) ** 2)
    above = sqrt((high1 - one) ** 2 + (two - low2) ** 2)
    count = min(len(first), len(second))
    return Estimate(one - two, one - two - below, one - two + above, count)


def wilson(events: int, runs: int, level: float) -> tuple[float, float, float]:
    """A rate and its interval by Wilson's score."""
    from scipy.stats import binomtest

    found = binomtest(events, runs).proportion_ci(level, method="wilson")
    return events / runs, float(found.low), float(found.high)


def correlation(first: NDArray[np.float64], second: NDArray[np.float64], level: float) -> Estimate:
    """Spearman's rank correlation over arms of two metrics' means over seeds.

    The interval holds two: that over arms, and the bootstrap's percentiles over seeds. Arms count
    as a sample: with few of them, ranks agree by chance.

    Args:
        first: (seeds, arms) values of one metric.
        second: (seeds, arms) values of the other.
        level: level of the interval.
    """
    generator = np.random.default_rng(0)
    every = generator.integers(0, len(first), (RESAMPLES, len(first)))
    drawn = _spearman(first[every].mean(1), second[every].mean(1))
    tails = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    value = float(_spearman(first.mean(0), second.mean(0)))
    low, high = over_arms(value, first.shape[1], level)
    return Estimate(value, min(low, float(tails[0])), max(high, float(tails[1])), len(first))


def over_arms(value: float, arms: int, level: float) -> tuple[float, float]:
    """Interval of a rank correlation by Fisher's z.

    Source: Bonett & Wright 2000, doi:10.1007/BF02294183, of Spearman's correlation.
    Departure: a correlation of 1 counts as half a step of the ranks below it, for its interval
    would have no width.

    Args:
        value: the correlation.
        arms: number of arms, four or more.
        level: level of the interval.

    Raises:
        ValueError: fewer than four arms.
    """
    if arms < 4:
        raise ValueError(f"an interval of a correlation requires 4 arms, got {arms}")
    from scipy import stats

    most = 1 - 6 / (arms * (arms**2 - 1))  # two neighbours exchanged cost twice as much
    middle = atanh(max(-most, min(most, value)))
    half = float(stats.norm.ppf((1 + level) / 2)) * sqrt((1 + value**2 / 2) / (arms - 3))
    return min(value, tanh(middle - half)), max(value, tanh(middle + half))


def _spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank correlations along the last dimension; 0 of equal values, which have no order."""
    from scipy.stats import rankdata

    middle = (first.shape[-1] + 1) / 2
    one, two = (rankdata(values, axis=-1) - middle for values in (first, second))
    scale = np.sqrt((one**2).sum(-1) * (two**2).sum(-1))
    found = (one * two).sum(-1) / np.where(scale > 0, scale, 1.0)
    return np.asarray(found, np.float64)


def share(
    values: NDArray[np.float64], levels: Sequence[Levels], factor: str, against: float | str,
    level: float,
) -> Estimate:  # fmt: skip
    """Share of the variance that a factor has, above a number or above another factor's share.

    The interval is Student's t of the jackknife's pseudo-values, a seed left out at a time.

    Args:
        values: (seeds, arms) of a metric; the arms are every combination of the factors' levels.
        levels: levels of each arm's factors.
        factor: the factor.
        against: a share, or the name of another factor.
        level: level of the interval.

    Raises:
        ValueError: fewer than three seeds.
    """
    if len(values) < 3:
        raise ValueError(f"a share requires 3 seeds, got {len(values)}")

    def above(rows: NDArray[np.float64]) -> float:
        found = shares(rows, levels)
        return found[factor] - (found[against] if isinstance(against, str) else against)

    whole, count = above(values), len(values)
    parts = [above(np.delete(values, seed, 0)) for seed in range(count)]
    around = difference([count * whole - (count - 1) * part for part in parts], level)
    half = (around.high - around.low) / 2
    return Estimate(whole, whole - half, whole + half, count)


def shares(values: NDArray[np.float64], levels: Sequence[Levels]) -> dict[str, float]:
    """Omega squared of each factor: its share of the variance without what noise adds to it.

    Seeds are blocks: what all arms of a seed have in common is not noise of the arms, but part
    of the variance. A factor without an effect has 0 in the mean, and less in half of the cases.

    Args:
        values: (seeds, arms) of a balanced factorial design.
        levels: levels of each arm's factors.

    Source: Hays 1963, Statistics for Psychologists, of groups.
    Departure: seeds are random blocks, whose variance is in the denominator.
    """
    grand, (seeds, arms) = values.mean(), values.shape
    whole = float(((values - grand) ** 2).sum())
    between = float(arms * ((values.mean(1) - grand) ** 2).sum())
    rest = whole - between - float(seeds * ((values.mean(0) - grand) ** 2).sum())
    noise = max(rest, 0.0) / ((seeds - 1) * (arms - 1))  # mean square
    found = {}
    for factor in levels[0]:
        names = np.array([one[factor] for one in levels])
        parts = [values[:, names == name] for name in dict.fromkeys(names)]
        squares = float(sum(part.size * (part.mean() - grand) ** 2 for part in parts))
        own = squares - (len(parts) - 1) * noise
        found[factor] = own / (whole + between / (seeds - 1)) if whole else 0.0
    return found
