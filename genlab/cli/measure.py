"""``validate`` and ``test``: a run, measured again."""

from __future__ import annotations

from genlab.cli.arguments import split_words
from genlab.cli.text import report
from genlab.errors import RecipeError
from genlab.training.fitting import has_test
from genlab.training.opened import figures_of, open_run


def _measure(kind: str, words: list[str], ckpt: str | None, as_json: bool) -> None:
    lab, file = open_run(*split_words(words), ckpt)
    if kind == "test" and not has_test(lab):
        raise RecipeError(
            f"{type(lab.model).__name__} has no test; genlab evaluate judges features"
        )
    report(file, figures_of(lab, kind), as_json)


def validate(words: list[str], ckpt: str | None, json: bool) -> None:
    """Validation figures of a checkpoint."""
    _measure("validate", words, ckpt, json)


def test(words: list[str], ckpt: str | None, json: bool) -> None:
    """Test figures of a checkpoint."""
    _measure("test", words, ckpt, json)
