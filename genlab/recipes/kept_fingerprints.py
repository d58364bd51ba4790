"""Today's fingerprints of recipes, kept in the user's cache while the files behind them stay."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from genlab.errors import RecipeError
from genlab.files import replacing, text_of
from genlab.recipes import fingerprints, plugins
from genlab.recipes.imports import Closure, stamp
from genlab.recipes.resolution import lineage, resolve


class Kept:
    """Fingerprints of recipes by their files, each with the state of what it was computed from."""

    def __init__(self) -> None:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self.file = Path(home) / "genlab" / "fingerprints.json"
        self._known = self._read()
        self._state = [fingerprints.versions(), sorted(plugins.declared())]
        self._changed = False
        self._stamps: dict[str, list[int]] = {}

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(text_of(self.file))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def of(self, recipe: Path) -> str:
        """Today's fingerprint of a recipe; empty where the recipe is wrong.

        Args:
            recipe: its file.
        """
        entry = self._known.get(str(recipe))
        if not isinstance(entry, dict) or not self._holds(entry):
            try:
                entry = self._computed(recipe)
            except RecipeError:
                return ""
            self._known[str(recipe)] = entry
            self._changed = True
        return str(entry["fingerprint"])

    def _holds(self, entry: dict[str, Any]) -> bool:
        files = entry.get("files")
        return (
            entry.get("state") == self._state
            and isinstance(files, dict)
            and isinstance(entry.get("fingerprint"), str)
            and all(self._stamp(file) == state for file, state in files.items())
        )

    def _stamp(self, file: str) -> list[int]:
        if file not in self._stamps:
            self._stamps[file] = [*stamp(Path(file))]
        return self._stamps[file]

    def _computed(self, file: Path) -> dict[str, Any]:
        recipe = resolve([file])
        code = Closure(fingerprints.classes(recipe))
        files = [*(source for source, _ in lineage(file)), *sorted(code.files)]
        return {
            "fingerprint": fingerprints.of_parts(recipe, code),
            "state": self._state,
            "files": {str(one): [*stamp(one)] for one in files},
        }

    def save(self) -> None:
        """Write the cache where it has changed; a cache that cannot be written is none."""
        if not self._changed:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.file) as draft:
                draft.write_text(json.dumps(self._known), encoding="utf-8")
        except OSError:
            return
