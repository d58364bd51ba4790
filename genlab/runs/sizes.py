"""Bytes of runs by what they are: checkpoints, links, captures, images, W&B's files, archives."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from genlab.files import text_of
from genlab.runs.archives import CHECKSUM, SUFFIX
from genlab.runs.finding import walk
from genlab.runs.folders import entries, files_below

KINDS = {"checkpoints": "checkpoints", "links": "links", "nonfinite": "captures",
         "pictures": "pictures", "wandb": "wandb"}  # fmt: skip
NAMES = (*KINDS.values(), "others")


def sizes(run: Path) -> dict[str, int]:
    """Bytes of a run's files by kind, see `NAMES`; no link is followed."""
    found = dict.fromkeys(NAMES, 0)
    for entry in entries(run):
        kind = KINDS.get(entry.name, "others")
        with suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                found[kind] += sum(one.st_size for one in files_below(entry.path))
            else:
                found["others"] += entry.stat(follow_symlinks=False).st_size
    return found


def archives(root: str | Path) -> Iterator[Path]:
    """The archives of runs below a folder: ``RECIPE/ID.tar.gz``, with the checksum next to it.

    No other file of that name is one: where ``track.runs`` is a folder of other things too, it may
    be data.
    """
    for folder in (path for path, is_one in walk(root) if not is_one):
        for entry in entries(folder):
            if entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                file = Path(entry.path)
                if _is_noted(file):
                    yield file


def _is_noted(file: Path) -> bool:
    """True if the checksum next to an archive names it, as `archives.archive` writes it."""
    note = file.with_name(file.name + CHECKSUM)
    try:
        text = text_of(note)
    except (OSError, UnicodeDecodeError):
        return False
    return re.fullmatch(f"[0-9a-f]{{64}}  {re.escape(file.name)}\n", text) is not None


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder; 0 where there is nothing."""
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            return sum(one.st_size for one in files_below(path))
        return os.lstat(path).st_size
    return 0
