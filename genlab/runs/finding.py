"""Runs by what the user calls them: path, id or recipe."""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from genlab.errors import RunError
from genlab.runs.json_files import read_json

SWEEP = "sweep.json"


def is_run(path: Path) -> bool:
    """True if a folder is a run directory."""
    return os.path.isfile(path / "recipe.yaml")  # False for any odd path


def find(word: str | Path, root: str | Path = "runs") -> Path:
    """The run directory that a path, RECIPE/ID, an id or a recipe's name (its newest run) means.

    Raises:
        RunError: none, or several.
    """
    path, root = Path(word), Path(root)
    if os.path.isfile(path) and path.parent.name == "checkpoints" and is_run(path.parent.parent):
        return path.parent.parent
    if is_run(path):
        return path
    if word and not path.is_absolute() and is_run(root / path):  # RECIPE/ID
        return root / path
    known = every(root)
    named = [run for run in known if run.name == str(word)]
    if len(named) == 1:
        return named[0]
    of_recipe = [run for run in known if run.parent.relative_to(root).as_posix() == str(word)]
    if of_recipe:
        return max(of_recipe, key=lambda run: written(run) or 0)
    if inside := _inside(path, known):
        raise RunError(f"{word} is a folder of runs, not a run; the newest in it is {inside[-1]}")
    seen = f"; the newest run is {known[-1]}" if known else f"; there are no runs under {root}/"
    called = {run.parent.relative_to(root).as_posix() for run in known}
    called |= {run.name for run in known} | {name.partition("/")[0] for name in called}
    near = difflib.get_close_matches(str(word), called, n=1, cutoff=0.6)
    seen += f"\ndid you mean {near[0]}?" if near else ""
    what = (
        "is a folder without recipe.yaml, not a run"
        if os.path.isdir(path)
        else "is not a run directory"
    )
    raise RunError(f"{word} {what}{seen}")


def _inside(folder: Path, known: Sequence[Path]) -> list[Path]:
    """The known runs below a folder, or else those right in it, oldest first."""
    if not os.path.isdir(folder):
        return []
    here = folder.resolve()
    below = [run for run in known if run.resolve().is_relative_to(here)]
    return below or sorted(filter(is_run, folder.iterdir()), key=lambda run: written(run) or 0)


def every(root: str | Path = "runs") -> list[Path]:
    """All run directories below ``root``, oldest first."""
    times = [(written(path), path) for path, is_one in walk(root) if is_one]
    found = [(moment, path) for moment, path in times if moment is not None]
    return [path for _, path in sorted(found, key=lambda one: one[0])]


def written(run: Path) -> int | None:
    """Time at which a run's recipe.yaml was written; None if another process has removed it."""
    try:
        return os.stat(run / "recipe.yaml").st_mtime_ns
    except OSError:
        return None


def walk(root: str | Path = "runs") -> Iterator[tuple[Path, bool]]:
    """The folders below ``root``, and whether each is a run, into which it does not go.

    Links and hidden folders are left out.
    """
    return ((Path(root, name), is_one) for name, is_one in names(os.fspath(root)))


def names(root: str, above: str = "") -> Iterator[tuple[str, bool]]:
    """As `walk`, by their paths below ``root`` as text: ten times as fast."""
    try:
        with os.scandir(f"{root}/{above}") as found:
            folders = [one.name for one in found if one.is_dir(follow_symlinks=False)]
    except OSError:
        return
    for folder in folders:
        if not folder.startswith("."):
            name = f"{above}{folder}"
            is_one = os.path.isfile(f"{root}/{name}/recipe.yaml")
            yield name, is_one
            if not is_one:
                yield from names(root, f"{name}/")


def meant(word: str, known: Sequence[str], root: str | Path = "runs") -> list[Path]:
    """The runs that a word selects; none where it is the name of nothing.

    Args:
        word: a run directory or a folder of them, a run id, a recipe's name (all runs of it), a
            sweep's name or its folder, a job array's name (``slurm-JOB``), or a pattern of any.
        known: all run directories below ``root``, by their paths below it.
        root: folder of all run directories.
    """
    path, root = Path(word), Path(root)
    sweep = path if os.path.isfile(path / SWEEP) else _sweep(word, known, root)
    if sweep is not None:
        trials = read_json(sweep / SWEEP).get("runs")
        named = trials if isinstance(trials, list) else []
        return [t for n in named if isinstance(n, str) and is_run(t := sweep.parent / n)]
    if is_run(path):
        return [path]
    if os.path.isdir(path):
        return every(path)
    inside = word.rstrip("/").removeprefix(f"{root}/")
    fits = re.compile(fnmatch.translate(inside)).match
    return [root / name for name in known if any(map(fits, _forms(name)))]


def _forms(name: str) -> tuple[str, str, str, str]:
    """What a run may be called: its id, path, recipe, and the job array that it is a task of."""
    recipe, _, identity = name.rpartition("/")
    return identity, name, recipe, identity.rpartition("_")[0]


def _sweep(word: str, known: Iterable[str], root: Path) -> Path | None:
    """The folder of a sweep by its name: it lies next to the sweep's runs."""
    places = {name.rpartition("/")[0] for name in known} if "/" not in word else set()
    found = (root / place / word for place in sorted(places))
    return next((folder for folder in found if os.path.isfile(folder / SWEEP)), None)
