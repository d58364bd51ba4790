"""Steps, images and parameters that the arms of a study have alike, counted and not believed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

from genlab.errors import InputError, RecipeError, RunError
from genlab.experiments.arms.expansion import Expansion

TOLERANCE = 0.01  # of numbers of parameters: widths are whole numbers


def check(expansion: Expansion) -> dict[str, dict[str, int]]:
    """Steps, images and parameters of every arm, as far as the study holds them equal.

    Raises:
        RecipeError: arms differ: at all in steps and images, by more than 1 % in parameters.
        RunError: a method cannot be built yet, as one that starts from a run which is missing.
    """
    question, built = expansion.question, cache(lambda name: _parameters(expansion, name))
    counted: dict[str, Callable[[str], int | None]] = {
        "steps": expansion.steps,
        "images": lambda name: expansion.images(name) if built(name) else None,  # else refused
        "parameters": built,
    }
    found: dict[str, dict[str, int]] = {}
    for what in question.equal:
        names = [arm.name for arm in question.arms if _has_length(expansion, what, arm.name)]
        found[what] = {name: n for name in names if (n := counted[what](name)) is not None}
        _compare(what, found[what], str(question.file))
    return found


def _has_length(expansion: Expansion, what: str, name: str) -> bool:
    """False for steps and images before `study bench` has found them."""
    return what == "parameters" or expansion.steps(name) is not None


def _compare(what: str, counts: Mapping[str, int], where: str) -> None:
    if not counts:
        return
    most, least = (end(counts, key=lambda name: counts[name]) for end in (max, min))
    slack = TOLERANCE if what == "parameters" else 0.0
    if counts[most] - counts[least] > slack * counts[most]:
        said = f"{counts[most]:,} of {most}, {counts[least]:,} of {least}"
        raise RecipeError(f"{what} of the arms are not equal: {said}", f"{where}, equal")


def _parameters(expansion: Expansion, name: str) -> int:
    """Number of trained parameters of an arm's method, as it is built for its data."""
    from genlab.training.building import build

    recipe = expansion.resolved(name, expansion.question.seeds[0])  # anew: building fills it in
    try:
        with tempfile.TemporaryDirectory() as place:
            model = build(recipe, Path(place)).model
    except InputError as error:
        raise RunError(str(error)) from None
    return sum(one.numel() for one in model.parameters() if one.requires_grad)
