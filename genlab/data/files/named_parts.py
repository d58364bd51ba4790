"""Parts of a data set by the names of its files."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path

from genlab import process
from genlab.data.errors import BrokenDataError
from genlab.data.files.folder_scan import PARTS
from genlab.data.files.folder_walk import walk


def part_of(name: str) -> str | None:
    """The part that a split's name, or a word of a file's name, means; None for another split."""
    return next((part for part, names in PARTS.items() if name.lower() in names), None)


def files_by_part(root: Path, suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    """Files at any depth of a folder by the part that their names, or their folders' names, say.

    A folder that is named as a part decides, the innermost first; else the first word that is a
    part, as in ``train-00000-of-00002.parquet`` or ``default/partial-test/0000.parquet``, the
    file's before its folders'. Where none is, all files are ``train``; else those of other splits
    are left out, with a warning. Links to folders are followed; what two of them lead to counts
    once in a part.

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
        part, depth = _part_in(path)
        if part is not None:
            sets.add(path.parents[depth])
        parts.setdefault(part, []).append(file)
    parts = {part: _once(root, files) for part, files in parts.items()}
    if len(sets) > 1:
        names = ", ".join(str(name) for name in sorted(sets)[:5])
        raise BrokenDataError(f"{root} contains several data sets: {names}; name one in data.root")
    if parts.keys() == {None}:
        return {"train": parts[None]}
    others = parts.pop(None, [])
    found = {part: files for part, files in parts.items() if part is not None}
    if found and "train" not in found:
        raise BrokenDataError(f"{root} has no split train; there are: {', '.join(found)}")
    _tell_of_others(root, others, found)
    return found


def _part_in(path: Path) -> tuple[str | None, int]:
    """The part that a file's path says, and which of its names says it: 0 for the file's own."""
    names = [path.stem, *path.parts[-2::-1]]
    for depth, name in enumerate(names):
        if depth and (part := part_of(name)):
            return part, depth
    for depth, name in enumerate(names):
        for word in re.split(r"[-_.]", name):
            if part := part_of(word):
                return part, depth
    return None, 0


def _once(root: Path, files: list[Path]) -> list[Path]:
    """Files without those that are found again through a link to a folder."""
    top = Path(os.path.realpath(root))
    real = {folder: os.path.realpath(folder) for folder in {file.parent for file in files}}
    linked = {folder for folder in real if real[folder] != str(top / folder.relative_to(root))}
    seen: dict[tuple[str, str], Path] = {}
    for file in sorted(files, key=lambda file: file.parent in linked):
        seen.setdefault((real[file.parent], file.name), file)
    return sorted(seen.values())


def _tell_of_others(root: Path, others: list[Path], found: dict[str, list[Path]]) -> None:
    """Warn of files that belong to no part."""
    taken = {os.path.realpath(file) for files in found.values() for file in files}
    left = [file for file in others if os.path.realpath(file) not in taken]
    if left and process.is_first():
        warnings.warn(
            f"{root}: {len(left)} files are left out, neither their names nor their folders' say "
            f"train, val or test; first: {left[0].relative_to(root)}",
            stacklevel=2,
        )


def _below(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files with these endings below a folder, none hidden, sorted by path."""
    folders = walk(str(root), lambda name: name.lower().endswith(suffixes))
    return sorted(Path(folder.path, name) for folder in folders for name in folder.names)
