"""``fit``: train a recipe, or continue a run."""

from __future__ import annotations

from genlab.cli.arguments import split_words
from genlab.cluster import launch, signals, slurm


def fit(words: list[str], resume: str | None, print_config: bool) -> None:
    """Train a recipe in a new run directory, or continue a run in its own."""
    if slurm.inside():
        signals.watch(slurm.go_back)  # until training listens; imports must not be killed
    launch.check()
    files, overrides = split_words(words)
    from genlab.training import fitting

    fitting.fit(files, overrides, resume, print_config)
