"""Run directories: name, make, sweep and remove them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from genlab.errors import cannot_write
from genlab.process import new_id
from genlab.runs.finding import is_run

FOLDERS = ("checkpoints", "pictures")
RUN_VARIABLE = "GENLAB_RUN_DIR"  # set before any process is spawned: children share the directory


def directory(root: str | Path, recipe: str) -> Path:
    """The directory that a new run of ``recipe`` is to use; the same on all its processes."""
    if RUN_VARIABLE in os.environ and "LOCAL_RANK" in os.environ:  # a process of the same launch
        return Path(os.environ[RUN_VARIABLE])
    path = Path(root).absolute() / recipe / new_id()
    os.environ[RUN_VARIABLE] = str(path)
    return path


def sweep(path: Path) -> None:
    """Remove partial files left by a killed process; only under the run's `lock`."""
    for file in [*path.glob(".*.tmp"), *(path / "checkpoints").glob(".*.tmp")]:
        file.unlink(missing_ok=True)


def make(path: Path) -> Path:
    """Create a run directory with its folders.

    Raises:
        RunError: the place cannot be written.
    """
    try:
        for folder in FOLDERS:
            _make_folder(path / folder)
        probe = path / f".writable.{os.getpid()}.tmp"
        probe.touch()
        probe.unlink()
    except OSError as error:
        drop_empty(path)
        hint = "choose another place with track.runs=DIR"
        raise cannot_write(f"the run directory {path}", error, hint) from None
    return path


def _make_folder(folder: Path) -> None:
    """Create a folder, again if a refused run next to it takes the folders above away."""
    for _ in range(5):
        with suppress(FileNotFoundError):
            folder.mkdir(parents=True, exist_ok=True)
            return
    folder.mkdir(parents=True, exist_ok=True)


def drop_empty(path: Path) -> None:
    """Remove a run directory in which nothing is, and the folders above it that are then empty."""
    drop_empty_folders([*(path / folder for folder in FOLDERS), path, *path.parents[:3]])


def drop_empty_folders(folders: Iterable[Path]) -> None:
    """Remove folders, innermost first, up to the first one that holds something."""
    for folder in folders:
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return


def remove(path: Path) -> None:
    """Remove a refused run, and the folders above it that are then empty."""
    shutil.rmtree(path)
    drop_empty_folders(path.parents[:3])  # of the data, of the method, and of all runs


def picture(checkpoint: Path, name: str) -> Path:
    """Path of an image made from a checkpoint: in its run's ``pictures/``, else next to it."""
    run = checkpoint.parent.parent
    return (run / "pictures" if is_run(run) else checkpoint.parent) / name
