"""Controls of the verdicts: shuffled arms, a planted difference, arms without a difference.

Each returns measured values with the arms changed; `verdicts.verdict` then decides by them as it
does by the true ones. No torch.
"""

from __future__ import annotations

from copy import deepcopy
from statistics import mean

import numpy as np

from genlab.experiments.arms.question import Question
from genlab.experiments.arms.results import DIVERGED, Values


def shuffled(question: Question, values: Values, generator: np.random.Generator) -> Values:
    """Deciding arms permuted within each seed, every metric on its own: no arm has an effect."""
    arms, pair = _arms(question), question.decides.figures
    found = deepcopy(values)
    for seed in _seeds(question, values):
        if len(arms) == 1:  # a difference of two metrics
            row = values[arms[0]][seed]
            ends = zip(pair, generator.permutation(len(pair)), strict=True)
            found[arms[0]][seed] |= {name: row[pair[other]] for name, other in ends}
            continue
        for metric in (*question.decides.read, DIVERGED):
            order = generator.permutation(len(arms))
            for arm, other in zip(arms, order, strict=True):
                found[arm][seed][metric] = values[arms[other]][seed].get(metric)
    return found


def planted(question: Question, values: Values, generator: np.random.Generator) -> Values:
    """The noise of the two arms of a difference, and twice the margin in the direction of yes."""
    sign = 1 if question.decides.yes_if == "higher" else -1
    return _rebuilt(question, values, generator, 2 * sign * question.decides.margin)


def level(question: Question, values: Values, generator: np.random.Generator) -> Values:
    """The noise of the two arms of a difference, without a difference of their means."""
    return _rebuilt(question, values, generator, 0.0)


def _rebuilt(
    question: Question, values: Values, generator: np.random.Generator, shift: float
) -> Values:
    """Paired differences about their mean, each with a random sign, moved by ``shift``."""
    if question.decides.kind != "difference":
        raise ValueError(f"a shift requires a difference, not {question.decides.kind}")
    decides, seeds, found = question.decides, _seeds(question, values), deepcopy(values)
    first, second = decides.arms[0], decides.arms[-1]
    one, two = decides.figures or [decides.figure] * 2
    pairs = [values[first][seed][one] - values[second][seed][two] for seed in seeds]
    signs = generator.choice([-1.0, 1.0], len(seeds))
    for seed, pair, sign in zip(seeds, pairs, signs, strict=True):
        moved = sign * (pair - mean(pairs)) + shift
        found[first][seed][one] = values[second][seed][two] + moved
    return found


def _arms(question: Question) -> list[str]:
    return question.decides.arms or [arm.name for arm in question.arms]


def _seeds(question: Question, values: Values) -> list[int]:
    """Seeds of which all deciding arms have finite values."""
    arms = _arms(question)
    metrics = [*question.decides.read]
    return [
        seed
        for seed in question.seeds
        if all(
            values[arm].get(seed, {}).get(metric) is not None for arm in arms for metric in metrics
        )
    ]
