"""One limit over what is kept for looking back: links, captures and archives of all runs.

Archives count, and stay: each is the only copy of its run's checkpoints.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from genlab.errors import RunError
from genlab.runs.finding import walk
from genlab.runs.folders import files_below
from genlab.runs.locks import held, lock
from genlab.runs.sizes import archives, size_of

LOCK = ".limit.lock"
FOLDERS = ("links", "nonfinite")  # of a run; never its checkpoints


@dataclass(frozen=True)
class Kept:
    """A folder that may go, with its bytes and the time of its last change."""

    path: Path
    size: int
    time: float


def keep_within(root: str | Path, gigabytes: float) -> list[Kept]:
    """Remove links and captures of runs, the oldest first, until the rest has room.

    Those of a run that is training count, and stay; so do archives. Of processes that end at once
    one removes after the other.

    Args:
        root: folder of all run directories.
        gigabytes: limit, in 10^9 bytes.

    Returns:
        What was removed.
    """
    with _alone(Path(root)) as is_alone:
        return _keep_within(root, gigabytes) if is_alone else []


@contextmanager
def _alone(root: Path) -> Iterator[bool]:
    """Time in which no other process keeps the limit; False where no lock is available."""
    with ExitStack() as opened:
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW
            number = os.open(root / LOCK, flags, 0o644)
            opened.callback(os.close, number)
            fcntl.flock(number, fcntl.LOCK_EX)
        except OSError:  # no locks there, or the folder cannot be written
            number = -1
        yield number >= 0


def _keep_within(root: str | Path, gigabytes: float) -> list[Kept]:
    found = sorted(kept(root), key=lambda one: one.time)
    packed = sum(size_of(file) for file in archives(root))
    over = packed + sum(one.size for one in found) - round(gigabytes * 1e9)
    gone = list[Kept]()
    for one in found:
        if over <= 0:
            break
        is_gone = not held(one.path.parent) and _remove(one.path)
        if is_gone or not os.path.lexists(one.path):  # by this process, or another
            over -= one.size
        gone += [one] if is_gone else []
    return gone


def kept(root: str | Path) -> Iterator[Kept]:
    """The links and captures of the runs below a folder; links of the file system are not."""
    for run in (path for path, is_one in walk(root) if is_one):
        for folder in (run / name for name in FOLDERS):
            if os.path.isdir(folder) and not os.path.islink(folder):
                files = list(files_below(folder))
                newest = max((one.st_mtime for one in files), default=0.0)
                yield Kept(folder, sum(one.st_size for one in files), newest)


def _remove(folder: Path) -> bool:
    """Remove a folder of a run that nobody trains in, by one rename first."""
    hidden = folder.with_name(f".removed-{folder.name}")
    try:
        with lock(folder.parent, sure=True):
            shutil.rmtree(hidden, ignore_errors=True)
            os.rename(folder, hidden)
            shutil.rmtree(hidden)
    except (OSError, RunError):
        return False
    return True
