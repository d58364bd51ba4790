"""Recipes from inside a run or a checkpoint: what they may name, and what is taken of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from genlab.errors import RecipeError
from genlab.recipes import doors, trust
from genlab.recipes.class_names import classes, current
from genlab.recipes.files import read, root
from genlab.recipes.resolution import (
    Recipe,
    expand_callbacks,
    lay,
    resolve,
    shortened,
)
from genlab.recipes.typed import COMMAND_LINE, word_to_mapping

MEASURES = ("OnlineKNN", "PlaneMetrics")  # callbacks whose metrics belong to a measurement
P = ParamSpec("P")
T = TypeVar("T")


def of_run(run: Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe that lies in a run directory, with ``key=value`` arguments over it.

    Raises:
        RecipeError: see `resolve`; also a class that nobody trusts, or a file that it extends.
    """
    file, words = run / "recipe.yaml", list(overrides)
    if "config" in read(file):
        raise RecipeError("a run's recipe does not extend another", str(file))
    recipe = resolve([file], words)
    recipe.trusted = trust.of(run) | _typed(words)
    doors.check(recipe.config, recipe.trusted)
    return recipe


def of_checkpoint(stamp: Any, where: str) -> Recipe | None:
    """The recipe that a checkpoint was written under, as it would lie in its run, to compare with.

    Args:
        stamp: description of the run in the checkpoint.
        where: name of the checkpoint for messages.

    Returns:
        None if the checkpoint holds none.
    """
    stored = stamp.get("recipe") if isinstance(stamp, dict) else None
    if not isinstance(stored, dict):
        return None
    recipe = Recipe(str(stamp.get("name", "recipe")), "", {})
    lay(recipe, shortened(stored), where)
    expand_callbacks(recipe)
    return recipe


def trusting(build: Callable[Concatenate[Recipe, P], T]) -> Callable[Concatenate[Recipe, P], T]:
    """A function of a recipe that loads classes under the recipe's trust and notes others'."""

    @wraps(build)
    def under_trust(recipe: Recipe, *rest: P.args, **more: P.kwargs) -> T:
        with doors.inside(recipe.trusted), doors.recorded() as recipe.loaded:
            return build(recipe, *rest, **more)

    return cast(Callable[Concatenate[Recipe, P], T], under_trust)


def check_words(words: Iterable[str], trusted: Iterable[str]) -> None:
    """Refuse ``key=value`` arguments from a file that name a class which nobody trusts.

    Raises:
        RecipeError: names the class.
    """
    for name in sorted(foreign_words(words)):
        doors.admit(name, frozenset(trusted))


def foreign_words(words: Iterable[str]) -> frozenset[str]:
    """The classes outside genlab that ``key=value`` arguments name; other arguments are ignored."""
    return _typed(word for word in words if "=" in word)


def _typed(words: Iterable[str]) -> frozenset[str]:
    """The classes that ``key=value`` arguments name."""
    found = set[str]()
    for word in words:
        content = word_to_mapping(word)
        long = {k: {"class_path": v} if isinstance(v, str) else v for k, v in content.items()}
        found |= doors.foreign(long)
    return frozenset(found)


def from_config(
    stamp: dict[str, Any],
    where: str,
    overrides: Iterable[str] = (),
    trusted: Iterable[str] = (),
) -> Recipe:
    """The recipe to measure a checkpoint by: its data and seed, genlab's own trainer.

    Of the checkpoint's callbacks the `MEASURES` are kept, if their arguments are numbers.

    Args:
        stamp: description of the run in the checkpoint.
        where: name of the checkpoint for messages.
        overrides: ``key=value`` arguments over it.
        trusted: classes that the checkpoint may name besides genlab's.

    Raises:
        RecipeError: the checkpoint holds no recipe, or names a class that nobody trusts.
    """
    stored, words = stamp.get("recipe"), list(overrides)
    if not isinstance(stored, dict):
        raise RecipeError(
            f"{where} contains no recipe; name one: genlab test RECIPE --ckpt {where}"
        )
    recipe = resolve([root() / "base.yaml"])
    recipe.name, recipe.header = str(stamp.get("name", "recipe")), ""
    recipe.trusted = frozenset(trusted) | _typed(words)
    taken = {key: stored[key] for key in ("data", "seed_everything") if key in stored}
    if not isinstance(taken.get("data"), dict) or not isinstance(
        taken.get("seed_everything", 0), int
    ):
        raise RecipeError("the recipe in it names no data, or a seed that is not a number", where)
    doors.check(taken, recipe.trusted)
    lay(recipe, taken | {"trainer": {"callbacks+": _measures(stored)}}, where)
    for word in words:
        lay(recipe, word_to_mapping(word), COMMAND_LINE)
    expand_callbacks(recipe)
    return recipe


def _measures(stored: dict[str, Any]) -> list[dict[str, Any]]:
    """The callbacks of a checkpoint's recipe that only measure."""
    trainer = stored.get("trainer")
    listed = trainer.get("callbacks") if isinstance(trainer, dict) else None
    own, kept = classes("callbacks"), list[dict[str, Any]]()
    for item in listed if isinstance(listed, list) else []:
        path = str(item.get("class_path")) if isinstance(item, dict) else str(item)
        given = (item.get("init_args") or {}) if isinstance(item, dict) else {}
        name = next((n for n in MEASURES if path in (n, own[n]) or current(path) == own[n]), None)
        if name and isinstance(given, dict) and _numbers(given):
            kept.append({"class_path": own[name], "init_args": dict(given)})
    return kept


def _numbers(given: dict[str, Any]) -> bool:
    return all(isinstance(value, int | float) for value in given.values())
