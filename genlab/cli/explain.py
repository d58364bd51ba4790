"""``explain``: what a class, a key, a metric or a run's file means, from docstrings. No torch."""

from __future__ import annotations

import os
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path

from genlab import recipes, run_files, runs
from genlab.cli import explained
from genlab.describing import classes, keys, metrics, source, values
from genlab.errors import RecipeError, nearest


def explain_options(parser: ArgumentParser) -> None:
    """Explain a class, a key of a recipe, a metric of a log or a file of a run."""
    parser.add_argument(
        "words", nargs="+", metavar="[RECIPE] NAME",
        help="SimCLR, ImageFolder, EMAWeights; model.optimizer, data.views, val/effective_rank",
    )  # fmt: skip
    parser.add_argument("--recipe", help="whose value of a key is shown, and the file that sets it")


def explain(words: list[str], recipe: str | None = None) -> None:
    """Print what a name means.

    Args:
        words: a name; or a recipe and a name.
        recipe: name, file or run that has a value of it.

    Raises:
        RecipeError: an unknown name, with the nearest.
    """
    *before, name = words
    if recipe is None and len(before) == 1:
        (recipe,) = before
    elif before:
        raise RecipeError(f"one name at a time, not {len(words)}", hint="genlab explain RECIPE KEY")
    print("\n".join(lines_of(name, recipe)))


def lines_of(name: str, recipe: str | None) -> Iterable[str]:
    """Lines about a name, see `explain`."""
    if keys.is_key(name):
        return _of_key(name, recipe)
    if recipe is None and (lines := _of_path(name)):
        return lines
    if recipe is None and name in run_files.FACTS:
        return explained.of_fact(name)
    if "/" in name and (metric := _of_metric(name, recipe)):
        return metric
    if recipe is None and (found := source.find(name)):
        return explained.of_class(classes.describe(found[0]), found[1:])
    owner, _, argument = name.rpartition(".")
    if owner[:1].isupper() and (owners := source.find(owner)):
        return explained.of_key(keys.of_argument(owners[0].path, [argument], name), None, {})
    if spelled := keys.spelled(name) if name.isidentifier() else []:
        return [line for key in spelled for line in _of_key(key, recipe)]
    if recipe is None and name in recipes.shipped():
        return explained.of_recipe(name)
    same = [key for key in metrics.names() if key.rpartition("/")[2] == name]
    if lines := [line for key in same or [name] for line in _of_metric(key, recipe)]:
        return lines
    raise RecipeError(f"nothing is named {name}", hint=nearest(name, known()))


def _of_path(name: str) -> Iterable[str] | None:
    """Lines about a run directory or a file of one; None if a name is neither."""
    path = Path(name)
    if runs.is_run(path):
        return explained.of_run(path)
    if os.path.isfile(path) and path.resolve().is_relative_to(recipes.root().resolve()):
        return explained.of_recipe(name)
    found = run_files.find(path)
    return None if found is None else explained.of_file(path, found)


def _of_metric(key: str, recipe: str | None) -> list[str]:
    """Lines about a metric, in a recipe only those of its method; empty if it is none."""
    found = metrics.definitions(key)
    if recipe is not None:
        method = values.named(recipes.resolve([recipe])).get("model")
        found = [one for one in found if one.owner.name == method] or found
    return list(explained.of_metric(key, found)) if found else []


def known() -> list[str]:
    """Names to compare a misspelt one with."""
    files = [*run_files.FACTS, *(one.name for one in run_files.FILES)]
    every = {name for group in keys.TOP for name in keys.names(group)}
    return [*source.names(), *recipes.shipped(), *keys.TOP, *every, *metrics.names(), *files]


def _of_key(key: str, recipe: str | None) -> Iterable[str]:
    resolved = None if recipe is None else recipes.resolve([recipe])
    named = {} if resolved is None else values.named(resolved)
    found = keys.meanings(key, named)
    value = None if resolved is None else values.value_of(resolved, found[0].key)
    return explained.of_key(found, value, named)
