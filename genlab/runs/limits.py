"""One limit over what is kept for looking back: links, captures and archives of all runs.

Archives count, and stay: each is the only copy of its run's checkpoints.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genlab.runs.finding import walk
from genlab.runs.locks import held
from genlab.runs.rows import files_below
from genlab.runs.sizes import archives, size_of

FOLDERS = ("links", "nonfinite")  # of a run; never its checkpoints


@dataclass(frozen=True)
class Kept:
    """A folder that may go, with its bytes and the time of its last change."""

    path: Path
    size: int
    time: float


def keep_within(root: str | Path, gigabytes: float) -> list[Kept]:
    """Remove links and captures of runs, the oldest first, until the rest has room.

    Those of a run that is training count, and stay; so do archives.

    Args:
        root: folder of all run directories.
        gigabytes: limit, in 10^9 bytes.

    Returns:
        What was removed.
    """
    found = sorted(kept(root), key=lambda one: one.time)
    packed = sum(size_of(file) for file in archives(root))
    over = packed + sum(one.size for one in found) - round(gigabytes * 1e9)
    gone = list[Kept]()
    for one in found:
        if over <= 0:
            break
        if not held(one.path.parent) and _remove(one.path):
            over -= one.size
            gone.append(one)
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
    """Remove a folder, by one rename first."""
    hidden = folder.with_name(f".removed-{folder.name}")
    try:
        shutil.rmtree(hidden, ignore_errors=True)
        os.rename(folder, hidden)
        shutil.rmtree(hidden)
    except OSError:
        return False
    return True
