"""Arguments ``key=value`` of the command line, each as a mapping."""

from __future__ import annotations

from typing import Any

from genlab.errors import RecipeError
from genlab.recipes.class_names import PACKAGES
from genlab.recipes.files import parse

COMMAND_LINE = "the command line"
SETTINGS = ("trainer", "checkpoint", "track")
GROUPS = (*PACKAGES, *SETTINGS)


def word_to_mapping(word: str) -> dict[str, Any]:
    """``model.lr=1e-3`` -> ``{"model": {"lr": 0.001}}``.

    Raises:
        RecipeError: an argument without ``=``, a key with an empty part, or a group of no settings.
    """
    key, equals, value = word.removeprefix("--").partition("=")
    if not equals or not key:
        raise RecipeError(f"{word!r} is neither a recipe nor key=value", COMMAND_LINE)
    if not all(key.split(".")):
        raise RecipeError(f"the key {key!r} has an empty part", COMMAND_LINE)
    mapping = parse(value, f"{COMMAND_LINE}, {key}")
    if mapping == {} and key in GROUPS:
        raise RecipeError(f"{key}={{}} changes nothing", COMMAND_LINE, f"write {key}.KEY=VALUE")
    for part in reversed(key.split(".")):
        mapping = {part: mapping}
    return mapping
