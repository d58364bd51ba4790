"""Contents of folders, without a failure where one cannot be read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path


def files_below(folder: Path | str) -> Iterator[os.stat_result]:
    """The facts of every file below a folder; of a link its own."""
    for entry in entries(folder):
        with suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                yield from files_below(entry.path)
            else:
                yield entry.stat(follow_symlinks=False)


def entries(folder: Path | str) -> Iterable[os.DirEntry[str]]:
    """Contents of a folder; nothing where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return ()
