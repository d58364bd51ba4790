"""``crossval``: stratified k-fold cross-validation of a recipe, one run directory a fold."""

from __future__ import annotations

import json as json_format
import os
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from genlab import process, recipes, runs
from genlab.cli.arguments import split_words
from genlab.errors import RecipeError
from genlab.recipes import COMMAND_LINE


def crossval_options(parser: ArgumentParser) -> None:
    """Stratified k-fold cross-validation of a recipe."""
    parser.add_argument("words", nargs="+", metavar="RECIPE|FILE.yaml|key=value")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON only")


def crossval(words: list[str], folds: int, json: bool) -> int:
    """Train on all folds but one, validate on that one, for each; the test set is not touched.

    Every fold is a run of its own, ``runs/<recipe>/<id>-fold<k>``, started as a fresh process. The
    metrics of the last epoch are the estimate; those of the selected checkpoint were selected on
    the fold that they are measured on, and are reported next to them as optimistic.
    """
    files, overrides = split_words(words)
    if folds < 2:
        raise RecipeError(f"--folds {folds} must be at least 2", COMMAND_LINE)
    for word in overrides:
        if word.removeprefix("--").startswith(("data.fold=", "data.folds=")):
            raise RecipeError(f"{word}: crossval goes through all folds; use --folds", COMMAND_LINE)
    recipe = recipes.resolve(files, [*overrides, f"data.folds={folds}", "data.fold=0"])
    recipes.check_keys(recipe)
    root = recipe.runs
    name, identity = recipe.name, f"{process.new_id()}-crossval"
    done = []
    for fold in range(folds):
        print(f"fold {fold + 1} of {folds}", file=sys.stderr)
        run = root / name / f"{identity}-fold{fold}"
        code = _fit([*words, f"data.folds={folds}", f"data.fold={fold}"], run.name)
        if code:
            if fold:
                print(f"stopped at fold {fold + 1}; those before it are kept", file=sys.stderr)
            return code
        done.append(runs.read_json(run / "metrics.json"))
    summary = {"recipe": name, "folds": folds} | summarise(done)
    target = root / name / f"{identity}.json"
    runs.write_json(target, summary)
    print(json_format.dumps(summary, indent=2) if json else table(summary, target))
    return 0


def _fit(words: list[str], identity: str) -> int:
    """One ``genlab fit`` in a process of its own; its progress is shown, its table is not."""
    command = [sys.executable, "-P", "-m", "genlab", "fit", *words, "track.test_after_fit=false"]
    environment = os.environ | {process.ID_VARIABLE: identity}
    return subprocess.run(
        command, env=environment, stdout=subprocess.DEVNULL, check=False
    ).returncode


def summarise(figures: list[dict[str, Any]]) -> dict[str, Any]:
    """Per validation metric: its value in each fold, their mean and standard deviation (n - 1).

    Args:
        figures: contents of each fold's metrics.json.
    """
    shared = set.intersection(*(set(fold) for fold in figures))
    keys = sorted(key for key in shared if key.startswith(("val/", "best/val/")))
    rows = {key: [fold[key] for fold in figures] for key in keys}
    return {
        key: {"mean": mean(values), "sd": stdev(values), "folds": values}
        for key, values in rows.items()
        if all(isinstance(value, int | float) for value in values)
    }


def table(summary: dict[str, Any], target: Path) -> str:
    """The summary for people: one line per metric."""
    rows = [(key, row) for key, row in summary.items() if isinstance(row, dict)]
    width = max((len(key) for key, _ in rows), default=0)
    lines = [f"{summary['recipe']}: {summary['folds']} folds, mean ± standard deviation"]
    lines += [f"  {key:<{width}}  {row['mean']:.4f} ± {row['sd']:.4f}" for key, row in rows]
    lines += ["val/...       last epoch: the estimate"] if rows else []
    lines += ["best/val/...  selected on the fold itself: optimistic"] if rows else []
    return "\n".join([*lines, str(target)])
