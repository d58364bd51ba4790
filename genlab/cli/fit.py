"""``fit``: train a recipe, or continue a run."""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from genlab import recipes
from genlab.cli.arguments import split_words
from genlab.cluster import launch, signals, slurm


def fit_options(parser: ArgumentParser) -> None:
    """Train a recipe, or continue a run; key=value changes any setting."""
    parser.add_argument("words", nargs="*", metavar="RECIPE|FILE.yaml|key=value")
    parser.add_argument("--resume", metavar="RUN", help="continue this run, exactly")
    parser.add_argument("--print_config", action="store_true", help="print all settings and stop")


def fit(words: list[str], resume: str | None, print_config: bool) -> None:
    """Train a recipe in a new run directory, or continue a run in its own."""
    if slurm.inside():
        signals.watch(slurm.go_back)  # until training listens; imports must not be killed
    launch.check()
    files, overrides = split_words(words)
    if resume is None:
        recipes.check_keys(recipes.resolve(files, overrides))  # before imports of many seconds
    from genlab.training import fitting
    from genlab.training.endings import EarlyEnd

    if print_config:
        print(fitting.show(files, overrides, resume), end="")
        return
    try:
        fitting.fit(files, overrides, resume)
    except EarlyEnd as end:
        sys.exit(end.code)
