"""The code that a run is trained by: revisions, differences from them, files that git lacks."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genlab.files import new_file, replacing
from genlab.recipes import imports, plugins, without_credentials
from genlab.training.provenance import git
from genlab.training.provenance.git import GitError, TooMuch

FOLDER = "code"  # of a run, for the patches
MOST_FILES, MOST_BYTES, MOST_OF_ALL = 500, 16 * 2**20, 64 * 2**20  # that are hashed
SECRET = re.compile(
    rb"-----BEGIN [A-Z ]*PRIVATE KEY|\b(?:hf_|ghp_|github_pat_|glpat-|AKIA|xox[bp]-|sk-)[\w-]{16}"
    rb"|(?:api_?key|password|passwd|secret|token)\w*[\"']?\s*[:=]\s*(?:[\"'][^\s\"']{12}"
    rb"|(?=[^\s\d]*\d)[\w+/=!@#$%^&*~-]{12,}(?![^\s,;#)}\]]))"  # without quotes: with a digit
    rb"|\w*key\b[\"']?\s*[:=]\s*[\"']?(?=[a-z+/_-]*\d)[\w+/-]{32}",
    re.I,
)


@dataclass
class Code:
    """Code as git knows it, and the files that git does not know.

    Args:
        repositories: facts of each checkout by what it holds: ``genlab``, ``project``, a plugin.
        files: size and SHA-256 of files that git lacks.
        patches: contents of the files of `FOLDER`, by name.
    """

    repositories: dict[str, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    patches: dict[str, bytes] = field(default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        """Part of run.json: ``git``, and ``files_not_in_git``."""
        return {"git": self.repositories or None, "files_not_in_git": self.files}


def now(keep: bool = True) -> Code:
    """The code as it lies in the checkouts now.

    Args:
        keep: True to keep differences from a revision.
    """
    found, tops = Code(), dict[Path, str]()
    for name, folder in _places():
        try:
            top, revision = git.top(folder)
            if top in tops or top == Path.home() or not _holds(top, name):
                continue
        except (GitError, RuntimeError):  # no home
            continue
        tops[top] = name
        found.repositories[name] = {"revision": revision} | _difference(found, top, keep)
    _hash(found, tops)
    return found


def _places() -> list[tuple[str, Path]]:
    """Folders of code by name: genlab's, the user's, those of plugins."""
    others = [(f"plugin {folder.name}", folder) for folder in _plugin_folders()]
    return [("genlab", imports.ROOT), ("project", Path.cwd()), *others]


def _plugin_folders() -> list[Path]:
    return [plugin.folder for plugin in plugins.declared().values() if plugin.folder]


def _holds(top: Path, name: str) -> bool:
    """False for genlab installed into an environment that merely lies inside a checkout."""
    if name != "genlab":
        return True
    face = imports.ROOT / "__init__.py"
    return bool(git.ask(imports.ROOT, "ls-files", "-z", "--", str(face)))


def _difference(code: Code, top: Path, keep: bool) -> dict[str, Any]:
    """Whether a checkout differs from its revision, and the patch that makes it so."""
    try:
        patch = git.diff(top)
    except GitError as error:
        why = str(error) or "git gives none"
        return {"changed": isinstance(error, TooMuch) or None, "left_out": why}
    if not patch:
        return {"changed": False}
    if not keep:
        return {"changed": True, "left_out": "track.diff is false"}
    if _has_secret(patch):
        return {"changed": True, "left_out": "a line looks like a password or token"}
    name = f"{hashlib.sha256(patch).hexdigest()[:12]}.patch"
    code.patches[name] = patch
    return {"changed": True, "diff": f"{FOLDER}/{name}"}


def _has_secret(patch: bytes) -> bool:
    text = patch.decode("latin-1")
    return bool(SECRET.search(patch)) or without_credentials(text) != text


def _hash(code: Code, tops: dict[Path, str]) -> None:
    """Hash imported files, and those of plugins' folders, that no checkout has in its index."""
    left, rest = _own_files(), MOST_OF_ALL
    found: list[tuple[str, Path]] = []
    for top in sorted(tops, key=lambda one: -len(one.parts)):  # a checkout inside another first
        inside = {file for file in left if file.is_relative_to(top)}
        left -= inside
        folders = [f for f in map(Path.resolve, _plugin_folders()) if f.is_relative_to(top)]
        try:
            names = git.unknown(top, sorted(map(str, inside)), list(map(str, folders)))
        except GitError:
            continue
        found += [(name, top / name) for name in names if "__pycache__" not in name]
    found = sorted(found) + sorted((_shown(file), file) for file in left)  # checkouts' own first
    for name, file in found[:MOST_FILES]:
        rest -= _facts_of(code, name, file, rest)
    if len(found) > MOST_FILES:
        code.files["..."] = {"files": len(found) - MOST_FILES}


def _own_files() -> set[Path]:
    """Source files of imported modules that no package manager has installed."""
    kept = {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    found = set[Path]()
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if not isinstance(name, str) or not name.endswith(".py") or not os.path.isabs(name):
            continue
        if not any(name.startswith(f"{place}{os.sep}") for place in kept if place):
            found.add(Path(name))
    return {file.resolve() for file in found if "site-packages" not in file.parts}


def _shown(file: Path) -> str:
    """A file's path below the working directory or a plugin's, else as it is."""
    homes = [Path.cwd(), *(folder.parent for folder in _plugin_folders())]
    inside = [home.resolve() for home in homes if file.is_relative_to(home.resolve())]
    return str(file.relative_to(inside[0])) if inside else str(file)


def _facts_of(code: Code, name: str, file: Path, rest: int) -> int:
    """Note a file's size, and its hash where that is not much; returns the bytes hashed."""
    try:
        size = file.stat().st_size
        code.files[name] = {"bytes": size}
        if not file.is_file() or size > min(MOST_BYTES, rest):
            return 0
        code.files[name]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return 0
    return size


def write(run: Path, patches: dict[str, bytes]) -> None:
    """Write patches that are not there yet into a run, for its owner's eyes.

    Args:
        run: the run directory.
        patches: contents by name.
    """
    for name, patch in patches.items():
        file = run / FOLDER / name
        if file.is_file():
            continue
        file.parent.mkdir(exist_ok=True)
        with replacing(file) as draft:
            os.close(new_file(draft, 0o600))
            draft.write_bytes(patch)


def revisions(known: Any) -> dict[str, str]:
    """Revisions by checkout, with ``+`` where it is changed, of the key ``git`` of a run.json."""
    if isinstance(known, str):  # of an older version
        return {"project": known}
    listed = known.items() if isinstance(known, dict) else ()
    return {
        name: f"{facts['revision']}{'+' if facts.get('changed') else ''}"
        for name, facts in listed
        if isinstance(facts, dict) and "revision" in facts
    }


def without_files(facts: dict[str, Any]) -> dict[str, Any]:
    """A run.json for others: revisions stay, files and differences go."""
    public = {key: value for key, value in facts.items() if key != "files_not_in_git"}
    if isinstance(history := facts.get("history"), list):
        listed = [start for start in history if isinstance(start, dict)]
        public["history"] = [{k: v for k, v in one.items() if k != "git"} for one in listed]
    return public | {"git": revisions(facts.get("git"))}
