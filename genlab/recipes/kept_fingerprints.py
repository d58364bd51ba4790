"""Today's fingerprints of recipes, kept in the user's cache while the files behind them stay.

Each entry is a file of its own: a training reads a few kilobytes, whatever else is kept.
"""

from __future__ import annotations

import hashlib
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

MOST = 4000  # entries; those that were written longest ago go first
TYPES = {"fingerprint": str, "files": dict, "here": str, "code": dict}


class Kept:
    """Fingerprints of recipes by their files, each with the state of what it was computed from.

    Attributes:
        folder: folder of the entries.
    """

    def __init__(self) -> None:
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        self.folder = Path(home) / "genlab" / "fingerprints"
        self._known: dict[str, Any] = {}  # entries that were read or made
        self._stamps: dict[str, list[int]] = {}
        found = {name: str(plugin.folder) for name, plugin in plugins.declared().items()}
        rules = [self._stamp(str(one)) for one in sorted(Path(__file__).parent.glob("*.py"))]
        self._state = [fingerprints.versions(), found, str(imports.ROOT), rules]
        self._here = os.pathsep.join([os.getcwd(), *sys.path])
        self._changed = set[str]()

    def place(self, key: str) -> Path:
        """The file of an entry; checkouts of genlab have their own."""
        name = hashlib.sha256(f"{imports.ROOT}\n{key}".encode()).hexdigest()
        return self.folder / f"{name[:32]}.json"

    def _find(self, key: str) -> Any:
        """An entry, which may be anything that its file holds; None if there is none."""
        if key not in self._known:
            try:
                self._known[key] = json.loads(text_of(self.place(key)))
            except (OSError, ValueError, RecursionError):
                self._known[key] = None
        return self._known[key]

    def of(self, file: Path) -> str:
        """Today's fingerprint of a recipe's file; empty where the recipe is wrong."""
        entry = self._find(str(file))
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
        entry = self._find(key)
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
        self._changed.add(key)

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
        """Write the entries that have changed; a cache that cannot be written is none."""
        if not self._changed:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            while self._changed:
                key = self._changed.pop()
                with replacing(self.place(key)) as draft:
                    draft.write_text(json.dumps(self._known[key]), encoding="utf-8")
            self._forget_oldest()
        except OSError:
            return

    def _forget_oldest(self) -> None:
        files = list(self.folder.glob("*.json"))
        if len(files) > MOST:
            files.sort(key=lambda file: file.stat().st_mtime)
            for file in files[: len(files) - MOST * 3 // 4]:
                file.unlink(missing_ok=True)
