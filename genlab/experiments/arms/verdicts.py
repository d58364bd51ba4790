"""Verdict of a study: its estimate and interval, the margin and the prediction. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from genlab.experiments.arms import intervals
from genlab.experiments.arms.intervals import Estimate
from genlab.experiments.arms.question import EVENT, Decision, Question
from genlab.experiments.arms.results import DIVERGED, Values

YES, NO, EQUAL, UNDECIDED = "yes", "no", "equal within the margin", "undecided"
NOT_RUN = "not run yet"


@dataclass(frozen=True)
class Verdict:
    """Answer of a study.

    Args:
        answer: ``yes`` if the first arm, the correlation or the share is higher, or lower where
            the study says ``yes_if: lower``; ``no`` if it is the other; ``equal within the
            margin``, ``undecided`` or ``not run yet``.
        estimate: the estimate with its interval; None where there is none.
        reason: why there is no estimate; empty if there is one.
    """

    answer: str
    estimate: Estimate | None = None
    reason: str = ""


def verdict(question: Question, values: Values) -> Verdict:
    """The answer by the runs that are measured.

    Args:
        question: the study.
        values: metrics by arm and seed. A run has diverged if it says so, or if a deciding metric
            of it is None, which was not finite.
    """
    decides = question.decides
    arms = decides.arms or [arm.name for arm in question.arms]
    seeds = [seed for seed in question.seeds if all(seed in values.get(arm, {}) for arm in arms)]
    if len(seeds) < len(question.seeds):
        count = f"{len(seeds)} of {len(question.seeds)} seeds"
        return Verdict(NOT_RUN, reason=f"{count} of all deciding arms are measured")
    counts = {arm: sum(diverged(question, values[arm][seed]) for seed in seeds) for arm in arms}
    if any(counts.values()) and decides.diverged is None:
        said = ", ".join(f"{count} of {arm}" for arm, count in counts.items())
        return Verdict(UNDECIDED, reason=f"runs diverged: {said}, of {len(seeds)} each")
    rows = {arm: [values[arm][seed] for seed in seeds] for arm in arms}
    estimate = _estimate(question, arms, rows)
    return Verdict(answer(estimate, decides.margin, decides.yes_if), estimate)


def diverged(question: Question, row: Mapping[str, Any]) -> bool:
    """True if a run met a loss, gradient or deciding metric that is not finite."""
    return bool(row.get(DIVERGED)) or any(row.get(one) is None for one in question.decides.read)


def answer(estimate: Estimate, margin: float, yes_if: str = "higher") -> str:
    """The answer by an interval: equal if all of it lies within the margin, else by its sign.

    Args:
        estimate: the estimate.
        margin: size that matters.
        yes_if: ``higher`` or ``lower``: which of them is a yes.
    """
    if -margin <= estimate.low and estimate.high <= margin:
        return EQUAL
    if estimate.low <= 0 <= estimate.high:
        return UNDECIDED
    return YES if (estimate.low > 0) == (yes_if == "higher") else NO


def _estimate(
    question: Question, arms: Sequence[str], rows: Mapping[str, list[dict[str, Any]]]
) -> Estimate:
    decides, level = question.decides, question.decides.level

    def column(figure: str, arm: str) -> list[float]:
        return [value_of(decides, row, figure) for row in rows[arm]]

    if decides.kind == "difference":
        return intervals.difference(pairs(decides, rows), level, decides.interval == "bootstrap")
    if decides.kind == "rate":
        first, second = ([_happened(decides, row) for row in rows[arm]] for arm in decides.arms)
        return intervals.rates(first, second, level)
    if decides.kind == "correlation":
        x, y = (np.array([column(one, arm) for arm in arms]).T for one in decides.figures)
        return intervals.correlation(x, y, level)
    levels = [question.arm(arm).levels for arm in arms]
    table = np.array([column(decides.figure, arm) for arm in arms]).T
    assert decides.against is not None
    return intervals.share(table, levels, decides.factor, decides.against, level)


def pairs(decides: Decision, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[float]:
    """Differences of each seed, of a study that decides by a difference.

    Args:
        decides: the decision.
        rows: metrics of each seed, in the same order for every arm.
    """
    names, ends = decides.figures or [decides.figure] * 2, _ends(decides)
    one, two = ([value_of(decides, row, name) for row in rows[arm]]
                for name, arm in zip(names, ends, strict=True))  # fmt: skip
    return [a - b for a, b in zip(one, two, strict=True)]


def _ends(decides: Decision) -> list[str]:
    """The two arms of a difference, which may be one."""
    return [decides.arms[0], decides.arms[-1]]


def value_of(decides: Decision, row: Mapping[str, Any], figure: str) -> float:
    """A metric of a run; of one that diverged, what the study counts it as."""
    if figure == DIVERGED:
        return float(row[DIVERGED])
    value = None if row.get(DIVERGED) else row.get(figure)
    if value is None:
        value = decides.diverged
    if value is None:
        raise ValueError(f"{figure} is missing, and diverged runs have no value")
    return float(value)


def _happened(decides: Decision, row: Mapping[str, Any]) -> bool:
    found = EVENT.fullmatch(decides.event)
    assert found is not None
    value, bound = value_of(decides, row, found["figure"]), float(found["bound"])
    return value < bound if found["sign"] == "<" else value > bound


def narrowest(question: Question) -> float | None:
    """Half the width of the narrowest interval that the number of seeds, or arms, can give.

    None of a difference or a share, whose width is that of the noise.
    """
    decides, seeds = question.decides, len(question.seeds)
    if decides.kind == "rate":
        return intervals.rates([False] * seeds, [False] * seeds, decides.level).high
    if decides.kind == "correlation":
        return intervals.over_arms(0.0, len(decides.arms or question.arms), decides.level)[1]
    return None


def went(question: Question, found: Verdict) -> str:
    """The prediction in the light of the verdict: ``as predicted``, ``against`` it, or open."""
    if found.answer in (NOT_RUN, UNDECIDED):
        return "the prediction is open"
    expected = {"equal": EQUAL, question.decides.yes_if: YES}.get(question.prediction.expect, NO)
    hit = expected == found.answer
    return "as predicted" if hit else "against the prediction"


def asked(question: Question) -> str:
    """The compared quantity in words: ``val/knn of a minus b``."""
    decides = question.decides
    if decides.kind == "difference" and decides.figures:
        return f"{decides.figures[0]} minus {decides.figures[1]}, of {decides.arms[0]}"
    if decides.kind == "correlation":
        return f"rank correlation of {' and '.join(decides.figures)} over arms"
    if decides.kind == "share":
        over = decides.against if isinstance(decides.against, str) else f"{decides.against:g}"
        return f"share of {decides.factor} in the variance of {decides.figure}, minus {over}"
    first, second = decides.arms
    what = f"rate of {decides.event}" if decides.kind == "rate" else decides.figure
    return f"{what} of {first} minus {second}"
