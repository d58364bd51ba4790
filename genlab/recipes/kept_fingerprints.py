"""Today's fingerprints of recipes, kept in the user's cache while the files behind them stay."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, TypeGuard

from genlab.errors import RecipeError
from genlab.files import replacing, text_of
from genlab.recipes import fingerprints, imports, plugins
from genlab.recipes.contents import Contents
from genlab.recipes.imports import stamp
from genlab.recipes.resolution import Recipe, lineage, resolve

TYPES = {"fingerprint": str, "files": dict, "here": str, "code": dict}


class Kept:
    """Fingerprints of recipes by their files, each with the state of what it was computed from."""

    def __init__(self) -> None:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self.file = Path(home) / "genlab" / "fingerprints.json"
        self._known = self._read()
        self._stamps: dict[str, list[int]] = {}
        found = {name: str(plugin.folder) for name, plugin in plugins.declared().items()}
        rules = [self._stamp(str(one)) for one in sorted(Path(__file__).parent.glob("*.py"))]
        self._state = [fingerprints.versions(), found, str(imports.ROOT), rules]
        self._here = os.pathsep.join([os.getcwd(), *sys.path])
        self._changed = False

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(text_of(self.file))
        except (OSError, ValueError, RecursionError):
            return {}
        return known if isinstance(known, dict) else {}

    def of(self, file: Path) -> str:
        """Today's fingerprint of a recipe's file; empty where the recipe is wrong."""
        entry = self._known.get(str(file))
        if not self._holds(entry):
            try:
                recipe = resolve([file])
                sources = [str(source) for source, _ in lineage(file)]
                entry = self._entry(recipe, sources)
            except RecipeError:
                return ""
            self._keep(str(file), entry)
        return str(entry["fingerprint"])

    def of_recipe(self, recipe: Recipe) -> str:
        """Today's fingerprint of a resolved recipe."""
        return str(self._entry(recipe, [])["fingerprint"])

    def _entry(self, recipe: Recipe, sources: list[str]) -> dict[str, Any]:
        code, contents = self._code(recipe), Contents()
        found = fingerprints.of_parts(recipe, code["code"], contents)
        looked = [*sources, *(os.path.abspath(one) for one in contents.files)]
        files = {one: self._stamp(one) for one in looked} | code["files"]
        here = self._here if contents.files else code["here"]
        return {"fingerprint": found, "code": {}, "files": files, "here": here}

    def _code(self, recipe: Recipe) -> dict[str, Any]:
        """Digests of the code that a recipe uses, and the state of its files."""
        starts = fingerprints.classes(recipe)
        key = " ".join([*sorted(starts), "without", *sorted(fingerprints.without(recipe))])
        entry = self._known.get(key)
        if not self._holds(entry):
            found = fingerprints.code(recipe)
            files = {str(one): self._stamp(str(one)) for one in sorted(found.files)}
            own = all(name.startswith("genlab.") for name in starts)
            here = "" if own else self._here  # where other modules are looked for
            entry = {"fingerprint": "", "code": found.digests, "files": files, "here": here}
            self._keep(key, entry)
        return dict(entry)

    def _keep(self, key: str, entry: dict[str, Any]) -> None:
        self._known[key] = entry | {"state": self._state}
        self._changed = True

    def _holds(self, entry: Any) -> TypeGuard[dict[str, Any]]:
        """True if an entry is whole and nothing behind it has changed."""
        if not isinstance(entry, dict) or entry.get("state") != self._state:
            return False
        if not all(isinstance(entry.get(key), kind) for key, kind in TYPES.items()):
            return False
        stay = all(self._stamp(file) == state for file, state in entry["files"].items())
        return stay and entry["here"] in ("", self._here)

    def _stamp(self, file: str) -> list[int]:
        if file not in self._stamps:
            self._stamps[file] = [*stamp(Path(file))]
        return self._stamps[file]

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
