"""``explain``: what a class, a function or a key means, from the docstrings. No torch."""

from __future__ import annotations

from argparse import ArgumentParser

from genlab.cli import explained
from genlab.describing import classes, source
from genlab.errors import RecipeError, nearest


def explain_options(parser: ArgumentParser) -> None:
    """Explain a method, data set, callback or any other class."""
    parser.add_argument("name", metavar="NAME", help="SimCLR, ImageFolder, EMAWeights ...")


def explain(name: str) -> None:
    """Print what a name means.

    Raises:
        RecipeError: an unknown name, with the nearest.
    """
    found = source.find(name)
    if not found:
        raise RecipeError(f"nothing is named {name}", hint=nearest(name, source.names()))
    print("\n".join(explained.of_class(classes.describe(found[0]), found[1:])))
