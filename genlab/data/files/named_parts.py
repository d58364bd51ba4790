"""Parts of a data set by the names of its files."""

from __future__ import annotations

import os
import re
from pathlib import Path

from genlab.data.errors import BrokenDataError
from genlab.data.files.folder_scan import PARTS


def part_of(name: str) -> str | None:
    """The part that a split's name, or a word of a file's name, means; None for another split."""
    return next((part for part, names in PARTS.items() if name.lower() in names), None)


def files_by_part(root: Path, suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    """Files at any depth of a folder by the part that their names, or their folders' names, say.

    A word of ``train-00000-of-00002.parquet`` or ``default/test/0000.parquet`` is the part. Where
    none is, all files are ``train``; else those of other splits are left out.

    Args:
        root: the folder.
        suffixes: endings of the files, in lower case.

    Raises:
        BrokenDataError: no ``train``, or files of several data sets.
    """
    parts: dict[str | None, list[Path]] = {}
    sets = set()
    for file in _below(root, suffixes):
        path = file.relative_to(root)
        words = [
            re.split(r"[-_.]", path.stem),
            *(re.split(r"[-_.]", p) for p in path.parts[-2::-1]),
        ]
        depth = next((k for k, names in enumerate(words) if any(map(part_of, names))), None)
        part = None
        if depth is not None:
            part = next(word for name in words[depth] if (word := part_of(name)))
            sets.add(path.parents[depth])
        parts.setdefault(part, []).append(file)
    if len(sets) > 1:
        names = ", ".join(str(name) for name in sorted(sets)[:5])
        raise BrokenDataError(f"{root} contains several data sets: {names}; name one in data.root")
    if parts.keys() == {None}:
        return {"train": parts[None]}
    found = {part: files for part, files in parts.items() if part is not None}
    if found and "train" not in found:
        raise BrokenDataError(f"{root} has no split train; there are: {', '.join(found)}")
    return found


def _below(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files with these endings below a folder, none hidden, sorted by path."""
    found = []
    for place, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(place, name)
            for name in names
            if not name.startswith(".") and name.lower().endswith(suffixes)
        ]
    return sorted(found)
