"""Removal of whole runs: never one that is training, nothing outside the folder of runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from genlab.errors import RunError
from genlab.runs.directories import drop_empty_folders
from genlab.runs.finding import is_run
from genlab.runs.locks import held, lock

LEAVING = ".removed-"  # begins the name of a folder that is being removed


@contextmanager
def owned(root: str | Path, path: str) -> Iterator[Path]:
    """A run of a folder, locked, so that nobody begins to train in it.

    Args:
        root: folder of all run directories.
        path: the run's directory below it.

    Raises:
        RunError: it is training, or may be, or is reached through a link, or is not a run.
    """
    run = Path(root) / path
    if os.path.realpath(run) != os.path.join(os.path.realpath(root), os.path.normpath(path)):
        raise RunError(f"{run} is left as it is: a link leads to it")
    if not is_run(run):
        raise RunError(f"{run} is not a run directory")
    with lock(run, sure=True):
        yield run


def delete(root: str | Path, path: str) -> None:
    """Remove a run, and the folders above it that are then empty.

    It is first given a hidden name of this process: one whose removal ends halfway is not a run any
    more, and the next removal next to it takes the rest away.

    Raises:
        RunError: see `owned`.
        OSError: it cannot be removed.
    """
    with owned(root, path) as run:
        drop(run)
    drop_empty_folders(above(Path(root), run))


def drop(run: Path, is_wanted: Callable[[Path], bool] = lambda hidden: True) -> bool:
    """Remove a run that this process has locked; links in it go, what they lead to stays.

    Args:
        run: its directory.
        is_wanted: function of the directory under its hidden name; after False the run has its own
            name again.

    Returns:
        Whether it is removed.
    """
    hidden, is_gone = run.with_name(f"{LEAVING}{run.name}.{os.getpid()}"), False
    for left in run.parent.glob(f"{LEAVING}*"):
        if left.is_dir() and not left.is_symlink() and not held(left):
            shutil.rmtree(left, ignore_errors=True)
    os.rename(run, hidden)
    try:
        is_gone = is_wanted(hidden)
    finally:
        if not is_gone:
            os.rename(hidden, run)
    while is_gone and os.path.isdir(hidden):
        with suppress(FileNotFoundError):  # once its lock is gone, others help to remove it
            shutil.rmtree(hidden)
    return is_gone


def above(root: Path, run: Path) -> list[Path]:
    """The folders between a run and the folder of all runs, innermost first."""
    return [folder for folder in run.parents if folder != root and folder.is_relative_to(root)]
