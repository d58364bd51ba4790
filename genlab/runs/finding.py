"""Runs by what the user calls them: path, id or recipe."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from genlab.errors import RunError


def is_run(path: Path) -> bool:
    """True if a folder is a run directory."""
    return os.path.isfile(path / "recipe.yaml")  # False for any odd path


def find(word: str | Path, root: str | Path = "runs") -> Path:
    """The run directory that a path, a run id or a recipe's name (its newest run) means.

    Raises:
        RunError: none, or several.
    """
    path = Path(word)
    if os.path.isfile(path) and path.parent.name == "checkpoints" and is_run(path.parent.parent):
        return path.parent.parent
    if is_run(path):
        return path
    known = every(root)
    named = [run for run in known if run.name == str(word)]
    if len(named) == 1:
        return named[0]
    of_recipe = [run for run in known if run.parent.relative_to(root).as_posix() == str(word)]
    if of_recipe:
        return max(of_recipe, key=lambda run: (run / "recipe.yaml").stat().st_mtime_ns)
    seen = f"; the newest run is {known[-1]}" if known else f"; there are no runs under {root}/"
    names = {run.parent.relative_to(root).as_posix() for run in known} | {run.name for run in known}
    near = difflib.get_close_matches(str(word), names, n=1, cutoff=0.7)
    seen += f"\ndid you mean {near[0]}?" if near else ""
    what = (
        "is a folder without recipe.yaml, not a run"
        if os.path.isdir(path)
        else "is not a run directory"
    )
    raise RunError(f"{word} {what}{seen}")


def every(root: str | Path = "runs") -> list[Path]:
    """All run directories below ``root``, oldest first."""
    found = [p.parent for p in Path(root).glob("**/recipe.yaml") if p.is_file()]
    return sorted(found, key=lambda run: (run / "recipe.yaml").stat().st_mtime_ns)
