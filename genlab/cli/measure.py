"""``validate`` and ``test``: a run, measured again."""

from __future__ import annotations

from argparse import ArgumentParser

from genlab.cli.arguments import split_words
from genlab.cli.text import report
from genlab.errors import RecipeError
from genlab.training import evaluations
from genlab.training.fitting import has_test
from genlab.training.opened import figures_of, open_run


def validate_options(parser: ArgumentParser) -> None:
    """Validate a run's selected checkpoint."""
    parser.add_argument("words", nargs="+", metavar="RUN|CKPT|RECIPE|key=value")
    parser.add_argument("--ckpt", metavar="FILE", help="checkpoint, when a recipe is given")
    parser.add_argument("--json", action="store_true", help="print JSON only")


def test_options(parser: ArgumentParser) -> None:
    """Test a run's selected checkpoint."""
    validate_options(parser)


def _measure(kind: str, words: list[str], ckpt: str | None, as_json: bool) -> int:
    files, overrides = split_words(words)
    lab, file = open_run(files, overrides, ckpt, test=kind == "test")
    if kind == "test" and not has_test(lab):
        raise RecipeError(
            f"{type(lab.model).__name__} has no test; genlab evaluate measures its features"
        )
    found = figures_of(lab, kind)
    given = [kind, *files, *overrides, *(["--ckpt", ckpt] if ckpt else [])]
    evaluations.keep(lab, file, given, found)
    return report(
        file, found | {"parents": lab.parents} if as_json and lab.parents else found, as_json
    )


def validate(words: list[str], ckpt: str | None, json: bool) -> int:
    """Validation metrics of a checkpoint."""
    return _measure("validate", words, ckpt, json)


def test(words: list[str], ckpt: str | None, json: bool) -> int:
    """Test metrics of a checkpoint."""
    return _measure("test", words, ckpt, json)
