"""``explain``: what a class, a key, a metric or a run's file means, from docstrings. No torch."""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path

from genlab import recipes, run_files, runs
from genlab.cli import COMMANDS, explanations
from genlab.describing import classes, keys, metrics, nested, source, values
from genlab.errors import RecipeError, nearest

SHORTEST, MOST_NEAR = 3, 3  # part of a name that is searched for in others; names that are told
FEATURES = re.compile(r"_?<\w+>")  # what a metric's name has in place of a network's, say
BRITISH = re.compile(r"(?<=\w)is(?=e|ation)")  # names in code are spelt with a z
EXAMPLES = "a class, key, metric, file, recipe or command: SimCLR, model.lr, val/loss, fit"


def explain_options(parser: ArgumentParser) -> None:
    """Explain a class, a key of a recipe, a metric, a file of a run, a recipe or a command.

    Before the name may stand a recipe or run, whose value of a key is shown.
    """
    parser.add_argument(
        "words", nargs="+", metavar="NAME",
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
    if recipe is None and name == "Trainer":
        return _of_key("trainer", recipe)
    if keys.is_key(name):
        return _of_key(name.partition("=")[0], recipe)  # model.lr=3 is of a key too
    if lines := _of_program(name) if recipe is None else ():
        return lines
    if "/" in name and (metric := _of_metric(name, recipe)):
        return metric
    found = source.find(name) if recipe is None and re.search(r"\w", name) else []
    if found and (source.group(found[0]) or not name.islower()):
        return explanations.of_class(classes.describe(found[0]), found[1:])
    owner, _, argument = name.rpartition(".")
    if owner[:1].isupper() and (owners := source.find(owner)):
        return explanations.of_key(keys.of_argument(owners[0].path, [argument], name), None, {})
    every = {key: key.rpartition("/")[2] for key in metrics.names()}
    same = [key for key, noun in every.items() if noun == name]
    same = same or [key for key, noun in every.items() if name and FEATURES.sub("", noun) == name]
    if lines := [line for key in same or [name] for line in _of_metric(key, recipe)]:
        return lines
    if spelled := keys.spelled(name) if name.isidentifier() else []:
        return [line for key in spelled for line in _of_key(key, recipe)]
    if found:
        return explanations.of_class(classes.describe(found[0]), found[1:])
    if recipe is None and name.islower() and (network := nested.encoder(name)):
        return explanations.of_encoder(name, network)
    if (american := BRITISH.sub("iz", name)) != name and source.find(american):
        return lines_of(american, recipe)
    raise _unknown(name, recipe)


def _of_program(name: str) -> Iterable[str]:
    """Lines about a command, run, file, fact, recipe or family; none of other names."""
    if name in COMMANDS:
        return explanations.of_command(name)
    if lines := _of_path(name):
        return lines
    shipped = recipes.shipped()
    family = [one for one in shipped if one.startswith(f"{name}/")]
    if family:
        return explanations.of_family(name, family)
    if name in run_files.FACTS:
        return explanations.of_fact(name)
    return explanations.of_recipe(name) if name in shipped else ()


def _unknown(name: str, recipe: str | None) -> RecipeError:
    """The refusal of a name: what is near it, or what else may be asked."""
    if recipe is not None and metrics.definitions(name):
        method = values.named(recipes.resolve([recipe])).get("model", "its method")
        return RecipeError(f"{method} does not log {name}", f"recipe {recipe}")
    if name.startswith("runs/"):
        return RecipeError(f"there is no {name}", hint="genlab runs lists all runs")
    every = known()
    holds = [one for one in every if len(name) >= SHORTEST and name.lower() in one.lower()]
    if holds:
        near = f"did you mean {' or '.join(sorted(holds, key=len)[:MOST_NEAR])}?"
    else:
        near = nearest(name, every)
    return RecipeError(
        f"nothing is named {name}", hint=near if near.startswith("did you mean") else EXAMPLES
    )


def _of_path(name: str) -> Iterable[str] | None:
    """Lines about a run directory or a file of one; None if a name is neither."""
    path = Path(name)
    if runs.is_run(path):
        return explanations.of_run(path)
    if os.path.isfile(path) and path.suffix == ".yaml" and run_files.find(path) is None:
        return explanations.of_recipe(name)
    found = run_files.find(path) or run_files.named(name)
    return None if found is None else explanations.of_file(path, found)


def _of_metric(key: str, recipe: str | None) -> list[str]:
    """Lines about a metric, in a recipe only of what it logs; empty if it is none."""
    found = metrics.definitions(key)
    if recipe is not None and found:
        path = recipes.resolve([recipe]).config.get("model", {}).get("class_path", "")
        method = source.locate(str(path))
        found = metrics.of_method(key, method) if method else found
    return list(explanations.of_metric(key, found)) if found else []


def known() -> list[str]:
    """Names to compare a misspelt one with."""
    files = [*run_files.FACTS, *(one.name for one in run_files.FILES)]
    every = {name for group in keys.TOP for name in keys.names(group)}
    named, shipped = source.names(), recipes.shipped()
    families = {name.partition("/")[0] for name in shipped} - {*map(str.lower, named)}
    programs = [*COMMANDS, *families, *shipped]
    return [*named, *programs, *keys.TOP, *every, *metrics.names(), *files]


def _of_key(key: str, recipe: str | None) -> Iterable[str]:
    resolved = None if recipe is None else recipes.resolve([recipe])
    named = {} if resolved is None else values.named(resolved)
    found = keys.meanings(key, named)
    value = None if resolved is None else values.value_of(resolved, found[0].key)
    return explanations.of_key(found, value, named)
