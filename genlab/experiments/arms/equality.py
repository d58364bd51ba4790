"""Steps, images and parameters that the arms of a study have alike, counted and not believed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from genlab.errors import RecipeError
from genlab.experiments.arms.expansion import Expansion

TOLERANCE = 0.01  # of numbers of parameters: widths are whole numbers


def check(expansion: Expansion) -> dict[str, dict[str, int]]:
    """Steps, images and parameters of every arm, as far as the study holds them equal.

    Raises:
        RecipeError: arms differ: at all in steps and images, by more than 1 % in parameters.
    """
    question = expansion.question
    names = [arm.name for arm in question.arms]
    counted = {"steps": expansion.steps, "images": expansion.images}
    found: dict[str, dict[str, int]] = {}
    for what in question.equal:
        if what == "parameters":
            counts = {name: parameters(expansion, name) for name in names}
        else:
            counts = {name: count for name in names if (count := counted[what](name)) is not None}
        found[what] = counts
        _compare(what, counts, str(question.file))
    return found


def _compare(what: str, counts: Mapping[str, int], where: str) -> None:
    if not counts:
        return
    most, least = (end(counts, key=lambda name: counts[name]) for end in (max, min))
    slack = TOLERANCE if what == "parameters" else 0.0
    if counts[most] - counts[least] > slack * counts[most]:
        said = f"{counts[most]:,} of {most}, {counts[least]:,} of {least}"
        raise RecipeError(f"{what} of the arms are not equal: {said}", f"{where}, equal")


def parameters(expansion: Expansion, name: str) -> int:
    """Trained parameters of an arm's method, as it is built for its data."""
    from genlab.training.building import build

    recipe = expansion.resolved(name, expansion.question.seeds[0])  # anew: building fills it in
    with tempfile.TemporaryDirectory() as place:
        lab = build(recipe, Path(place))
    return sum(one.numel() for one in lab.model.parameters() if one.requires_grad)
