"""A study that answers one question: arms, seeds, metrics, the decision and its prediction."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genlab.recipes.heads import Head

EVENT = re.compile(r"(?P<figure>\S.*?) (?P<sign>[<>]) (?P<bound>[-+.\deE]+)")


@dataclass(frozen=True)
class Arm:
    """One of the settings that a study compares.

    Args:
        name: name in the study.
        recipe: recipe that it trains, or that of the study.
        settings: ``key=value`` over those of all arms; ``{seed}`` in them is the run's seed.
        steps: optimiser steps, or those of the study.
        levels: value of each key as text, of an arm of a grid.
    """

    name: str
    recipe: str = ""
    settings: list[str] = field(default_factory=list)
    steps: int | None = None
    levels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """The comparison that answers the question.

    Args:
        kind: ``difference`` of two arms, ``rate`` difference of an event, rank ``correlation`` of
            two metrics over arms, or ``share`` of variance of a factor of the grid.
        margin: size that matters, in the metric's unit; smaller differences count as equal.
        yes_if: ``higher`` or ``lower``: which of them answers the question with yes.
        arms: first and second arm of a difference or a rate; one arm of a difference of two
            metrics; arms of a correlation, if not all.
        figure: metric of a difference or a share.
        figures: two metrics of a correlation, or of a difference within one arm.
        event: event of a rate, ``val/embedding_std < 0.1``.
        factor: key of the grid, of a share.
        against: key or number from which a share is to differ; a share requires it.
        comparisons: number of comparisons for which the interval's level is corrected, as
            Bonferroni does: 1 - 0.05 / comparisons.
        interval: ``t`` or ``bootstrap``, of a difference.
        diverged: value that the metric of a diverged run counts as; without one, a diverged run
            leaves the question undecided.
    """

    kind: str
    margin: float
    yes_if: str = "higher"
    arms: list[str] = field(default_factory=list)
    figure: str = ""
    figures: list[str] = field(default_factory=list)
    event: str = ""
    factor: str = ""
    against: float | str | None = None
    comparisons: int = 1
    interval: str = "t"
    diverged: float | None = None

    @property
    def read(self) -> list[str]:
        """Metrics that it compares."""
        event = EVENT.fullmatch(self.event)
        found = [self.figure, *self.figures, event["figure"] if event else ""]
        return [one for one in found if one]

    @property
    def level(self) -> float:
        """Level of the interval."""
        return 1 - 0.05 / self.comparisons


@dataclass(frozen=True)
class Prediction:
    """Expected answer, written down before the first result.

    Args:
        expect: ``higher`` or ``lower`` for the first arm, the correlation or the share, or
            ``equal`` within the margin.
        what: prediction in one sentence.
        source: paper, or reason, that it comes from.
    """

    expect: str
    what: str
    source: str


@dataclass(frozen=True)
class Question:
    """A study as its file says it.

    Args:
        name: name below ``recipes/studies`` without the ending, or the file's stem.
        file: the file.
        head: facts about it.
        question: question in one sentence.
        recipe: recipe of every arm that names no other.
        seeds: seeds of the runs, at least five.
        reads: metrics that are read of each run.
        decides: comparison that answers the question.
        prediction: expected answer.
        settings: ``key=value`` of every arm.
        arms: arms in their order.
        steps: optimiser steps of every run; None before `study bench` has found them.
        budget: ``seconds`` of CPU time that `study bench` turns into steps.
        equal: quantities that all arms have alike: steps, images or parameters.
        evaluate: options of ``genlab evaluate`` for metrics that begin with ``judge/`` or
            ``evaluate/``, such as ``{judge: classifier/mnist_lenet, samples: 1000}``.
    """

    name: str
    file: Path
    head: Head
    question: str
    recipe: str
    seeds: list[int]
    reads: list[str]
    decides: Decision
    prediction: Prediction
    settings: list[str] = field(default_factory=list)
    arms: list[Arm] = field(default_factory=list)
    steps: int | None = None
    budget: Mapping[str, float] = field(default_factory=dict)
    equal: list[str] = field(default_factory=list)
    evaluate: Mapping[str, Any] = field(default_factory=dict)

    def arm(self, name: str) -> Arm:
        """The arm of a name."""
        return next(one for one in self.arms if one.name == name)
