"""Settings and code of a table's runs: the first are in a run's name, the second in its results.

A recipe that was edited is another run. A run of other code, or of other versions of torch and
timm, stays the row's result, and the page says so. Imports no torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from genlab import recipes, runs
from genlab.errors import InputError
from genlab.recipes import Recipe, fingerprints
from genlab.recipes.contents import Contents
from genlab.recipes.kept_fingerprints import Kept
from genlab.recipes.plain_settings import plain

Key = tuple[str, ...]  # a recipe and its settings


class Identity:
    """Digests of recipes with settings, each computed once."""

    def __init__(self) -> None:
        self._kept, self._recipes = Kept(), dict[Key, Recipe]()
        self._settings, self._fingerprints = dict[Key, str](), dict[Key, str]()

    def settings(self, recipe: str, words: Sequence[str]) -> str:
        """Digest of a recipe's settings, without seed and ``track``, whatever way they are written.

        Args:
            recipe: name of the recipe.
            words: ``key=value`` over it.

        Raises:
            RecipeError: an unknown recipe or a wrong setting.
        """
        key = (recipe, *words)
        if key not in self._settings:
            found = plain(self._resolved(key).config, _Unread())
            text = json.dumps(found, sort_keys=True, default=str)
            self._settings[key] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        return self._settings[key]

    def fingerprint(self, recipe: str, words: Sequence[str]) -> str:
        """Fingerprint of a recipe with settings, by the code and versions that are here."""
        key = (recipe, *words)
        if key not in self._fingerprints:
            self._fingerprints[key] = self._kept.of_recipe(self._resolved(key))
            self._kept.save()
        return self._fingerprints[key]

    def _resolved(self, key: Key) -> Recipe:
        if key not in self._recipes:
            recipe, *words = key
            self._recipes[key] = recipes.resolve([recipe], words)
        return self._recipes[key]


def is_of_this_code(run: Path) -> bool:
    """True if the code and versions that are here are those that trained a run."""
    facts = runs.read_json(run / "run.json")
    parents = facts.get("parents", {})
    try:
        written = fingerprints.of_run(recipes.of_run(run), parents)
    except (InputError, OSError):
        return False
    return bool(facts.get("fingerprint") == Kept().of_recipe(written))


class _Unread(Contents):
    """Paths as they are written: a run's name is the same before and after a download."""

    def of_text(self, text: str) -> str:
        return text

    def listing(self, folder: str) -> str:
        return folder
