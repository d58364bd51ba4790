"""Files of studies that answer one question, found and read with strict keys."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from genlab import recipes
from genlab.errors import RecipeError, nearest
from genlab.experiments import study_files
from genlab.experiments.arms.question import EVENT, Arm, Decision, Prediction, Question

LEAST_SEEDS = 5
LEAST_ARMS = 5  # of a correlation
KINDS = ("difference", "rate", "correlation", "share")
EXPECTED = ("higher", "lower", "equal")
EQUAL = ("steps", "images", "parameters")
STEPS = "\nsteps:"  # begins the last part of a file with a budget, which `study bench` writes
TEXT = {
    "question",
    "recipe",
    "kind",
    "figure",
    "event",
    "factor",
    "what",
    "source",
    "interval",
    "yes_if",
}
LISTS = {"settings", "equal", "seeds", "reads"}


def shipped() -> dict[str, Path]:
    """Every shipped study of one question by its name."""
    return study_files.shipped(questions=True)


def meant(word: str) -> Path | None:
    """The file of a study of one question that a path or shipped name means; None if it is not."""
    if os.path.isfile(word):
        return Path(word).resolve() if study_files.is_question(Path(word)) else None
    return shipped().get(word)


def read(file: Path) -> Question:
    """The study that a file says.

    Raises:
        RecipeError: the file is wrong; with the nearest name where one is unknown.
    """
    names, where = {path.resolve(): name for name, path in shipped().items()}, str(file)
    content = dict(recipes.read(file))
    arms, grid = content.pop("arms", None), content.pop("grid", None)
    if (arms is None) == (grid is None):
        raise RecipeError("a study requires either arms or a grid", where)
    steps = content.pop("steps", None)
    own = dict(steps) if isinstance(steps, dict) else {}
    content["steps"] = None if own else steps
    content["arms"] = list(_named(arms, where) if grid is None else _crossed(grid, where))
    known = {arm.name: arm for arm in content["arms"]}
    _check_names(own, known, f"{where}, steps")
    content["arms"] = [replace(arm, steps=own.get(name, arm.steps)) for name, arm in known.items()]
    for key, kind in (("decides", Decision), ("prediction", Prediction)):
        if key in content:
            content[key] = _made(kind, content[key], f"{where}, {key}")
    content |= {"name": names.get(file.resolve(), file.stem), "file": file}
    question: Question = _made(Question, content | {"head": recipes.head(file)}, where)
    _check(question, where)
    return question


def _named(arms: Any, where: str) -> Iterable[Arm]:
    if not isinstance(arms, dict):
        raise RecipeError("arms is not a mapping of names", f"{where}, arms")
    for name, content in arms.items():
        own = {"settings": content or []} if not isinstance(content, dict) else content
        yield _made(Arm, {"name": str(name), **own}, f"{where}, arms, {name}")


def _crossed(grid: Any, where: str) -> Iterable[Arm]:
    """Every combination of a grid's values, the last key fastest."""
    lists = grid.values() if isinstance(grid, dict) else [None]
    if not all(isinstance(one, list) and one for one in lists):
        raise RecipeError("grid is not a mapping of keys to lists", f"{where}, grid")
    for values in product(*grid.values()):
        levels = {key: text(value) for key, value in zip(grid, values, strict=True)}
        name = ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in levels.items())
        yield Arm(name, settings=[f"{k}={v}" for k, v in levels.items()], levels=levels)


def text(value: Any) -> str:
    """A YAML value as an argument has it: ``true``, ``null``, ``[64, 256]``."""
    return value if isinstance(value, str) else json.dumps(value)


def _made(kind: type, content: Any, where: str) -> Any:
    if not isinstance(content, dict):
        raise RecipeError("it is not a mapping of keys", where)
    names = [one.name for one in fields(kind)]
    for key, value in content.items():
        if key not in names:
            raise RecipeError(f"unknown key {key}", where, nearest(str(key), names))
        if (key in TEXT and not isinstance(value, str)) or (
            key in LISTS and not isinstance(value, list)
        ):
            what = "a text" if key in TEXT else "a list"
            raise RecipeError(f"{key} {value!r} is not {what}", where)
    for one in fields(kind):
        needed = one.default is MISSING and one.default_factory is MISSING
        if needed and content.get(one.name) in (None, "", []):
            raise RecipeError(f"a study requires {one.name}", where)
    return kind(**content)


def _check(question: Question, where: str) -> None:
    seeds, steps = question.seeds, [question.steps, *(arm.steps for arm in question.arms)]
    if len(set(seeds)) < LEAST_SEEDS or not all(type(one) is int for one in seeds):
        what = f"seeds is not a list of {LEAST_SEEDS} different numbers or more"
        raise RecipeError(what, f"{where}, seeds", "leave out arms rather than seeds")
    if any(one is not None and (type(one) is not int or one < 1) for one in steps):
        raise RecipeError("steps is not a number from 1, or one of each arm", f"{where}, steps")
    if question.budget and (list(question.budget) != ["seconds"] or question.steps is not None):
        raise RecipeError("budget is not {seconds: S} without steps", f"{where}, budget")
    if not question.budget and question.steps is None and None in steps[1:]:
        raise RecipeError("a study requires steps, or a budget of seconds", where)
    if len(question.arms) < 2:
        raise RecipeError("a study requires two arms", f"{where}, arms")
    _one_of(question.equal, EQUAL, f"{where}, equal")
    _one_of([question.prediction.expect], EXPECTED, f"{where}, prediction, expect")
    _check_decision(question, f"{where}, decides")


def _check_decision(question: Question, where: str) -> None:
    decides, arms = question.decides, [arm.name for arm in question.arms]
    kind = decides.kind
    _one_of([kind], KINDS, f"{where}, kind")
    _one_of([decides.interval], ("t", "bootstrap"), f"{where}, interval")
    _one_of([decides.yes_if], ("higher", "lower"), f"{where}, yes_if")
    _check_names(decides.arms, arms, f"{where}, arms")
    _check_names(decides.read, question.reads, f"{where}: of reads")
    margin = decides.margin
    if not isinstance(margin, int | float) or not 0 < margin < math.inf:
        raise RecipeError(f"margin {margin} is not above 0", f"{where}, margin")
    if type(decides.comparisons) is not int or decides.comparisons < 1:
        what = f"comparisons {decides.comparisons} is not a number from 1"
        raise RecipeError(what, f"{where}, comparisons")
    required: dict[str, dict[str, Any]] = {
        "difference": {"figure": decides.figure, "two arms": len(decides.arms) == 2},
        "pair": {"two figures": len(decides.figures) == 2, "one arm": len(decides.arms) == 1},
        "rate": {"event": EVENT.fullmatch(decides.event), "two arms": len(decides.arms) == 2},
        "correlation": {"two figures": len(decides.figures) == 2},
        "share": {
            "figure": decides.figure, "factor": decides.factor,
            "against": decides.against is not None,
        },
    }  # fmt: skip
    pair = kind == "difference" and decides.figures
    for name, given in required["pair" if pair else kind].items():
        if not given:
            hint = "such as val/embedding_std < 0.1" if name == "event" else ""
            raise RecipeError(f"{kind} requires {name}", where, hint)
    if kind == "correlation" and len(decides.arms or arms) < LEAST_ARMS:
        what = f"correlation requires {LEAST_ARMS} arms"  # four are in order once in 12 cases
        raise RecipeError(what, where)
    if question.prediction.expect == "equal":
        from genlab.experiments.arms.verdicts import narrowest  # numpy; not of every file

        if (least := narrowest(question) or 0.0) > margin:
            what = f"expect equal requires a margin of {least:.3g} or more, got {margin:g}"
            raise RecipeError(what, f"{where}, margin", "or more seeds, or arms of a correlation")
    if kind == "share":
        factors = [*question.arms[0].levels]
        wanted = [decides.factor, decides.against]
        _check_names(
            [one for one in wanted if isinstance(one, str)], factors, f"{where}: of the grid"
        )


def _one_of(given: Iterable[str], known: tuple[str, ...], where: str) -> None:
    for one in given:
        if one not in known:
            hint = nearest(one, known) or f"one of {', '.join(known)}"
            raise RecipeError(f"unknown {where.rpartition(', ')[2]} {one}", where, hint)


def _check_names(given: Iterable[str], known: Iterable[str], where: str) -> None:
    for one in given:
        if one not in known:
            raise RecipeError(f"unknown name {one}", where, nearest(one, known))


def write_steps(question: Question, steps: Mapping[str, int]) -> None:
    """Replace the last part of a study's file, the steps of each arm."""
    old = question.file.read_text(encoding="utf-8").partition(STEPS)[0].rstrip("\n")
    rows = "".join(f"  {json.dumps(name)}: {count}\n" for name, count in steps.items())
    question.file.write_text(f"{old}\n{STEPS[1:]}\n{rows}", encoding="utf-8")
