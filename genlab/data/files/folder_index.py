"""The images below a folder, walked once: large folders' lists are kept in the user's cache."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from genlab.data.errors import BrokenDataError
from genlab.data.files.cache import alone, kept_at
from genlab.data.files.file_names import FileNames, Numbers
from genlab.data.files.folder_walk import THREADS, Folder, walk
from genlab.files import replacing

KEPT_FROM = 1000  # images: a smaller folder is walked in less time than its list is read
SETTLED = 2.0  # seconds: a folder that changed later than this before the walk may change unseen
LOOKED_AT = 1000  # files whose sizes are compared at every start
VERSION = 3  # of the kept file's form


class FolderIndex:
    """Images of every folder below a root, without hidden ones.

    Args:
        root: absolute path of the folder.
        folders: paths of all folders, each before its sub-folders, those by name.
        changed: (F,) their times of change in ns.
        entries: (F,) their numbers of entries.
        first: (F + 1,) number of the first image of each folder, and of all images.
        letters, ends, sizes: names and sizes of the images, see `FileNames`.
        numbers: (N,) number of each on this machine, the same for all links to it.
        linked: True if some files or folders may be reached elsewhere too.
        dead: links to nothing that may have been links to folders.
    """

    def __init__(
        self,
        root: str,
        folders: list[str],
        changed: Numbers,
        entries: Numbers,
        first: Numbers,
        letters: bytes,
        ends: Numbers,
        sizes: Numbers,
        numbers: Numbers,
        linked: bool = False,
        dead: Sequence[str] = (),
    ) -> None:
        self.numbers, self.linked, self.dead = numbers, linked, dead
        self.root, self.folders = root, folders
        self.changed, self.entries, self.first = changed, entries, first
        folder = np.repeat(np.arange(len(folders), dtype=np.int32), np.diff(first))
        self.names = FileNames(folders, letters, ends, folder, sizes=sizes)
        self.number = {path: k for k, path in enumerate(folders)}

    @classmethod
    def of(cls, root: str, walked: list[Folder]) -> FolderIndex:
        """The index of what was walked."""
        names = [os.fsencode(name) for folder in walked for name in folder.names]
        return cls(
            root,
            [folder.path for folder in walked],
            np.array([folder.changed for folder in walked], np.int64),
            np.array([folder.entries for folder in walked], np.int64),
            np.cumsum([0, *(len(folder.names) for folder in walked)], dtype=np.int64),
            b"".join(names),
            np.cumsum([0, *map(len, names)], dtype=np.int64),
            np.array([size for folder in walked for size in folder.sizes], np.int64),
            np.array([number for folder in walked for number in folder.numbers], np.int64),
            os.path.islink(root) or any(folder.linked for folder in walked),
            [link for folder in walked for link in folder.dead],
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.names)

    def pictures(self, folder: str, deep: bool = True) -> FileNames:
        """Images of a folder, then of its sub-folders, each sorted by name.

        Args:
            folder: path at or below the root.
            deep: True to include sub-folders.
        """
        return self.names[self.rows(folder, deep)]

    def rows(self, folder: str, deep: bool = True) -> slice:
        """Their places among all images."""
        at = self.number[folder]
        return slice(int(self.first[at]), int(self.first[self._end(at) if deep else at + 1]))

    def classes(self, folder: str) -> list[str]:
        """Names of the sub-folders that contain images at any depth, sorted.

        Raises:
            BrokenDataError: a link to nothing among them.
        """
        for link in self.dead:
            if os.path.dirname(link) == folder:
                raise BrokenDataError(
                    f"{link} is a link to nothing: a class would be missing\n"
                    "restore what it leads to, or delete the link"
                )
        at = self.number[folder] + 1
        end, found = self._end(at - 1), list[str]()
        while at < end:
            after = self._end(at)
            if self.first[after] > self.first[at]:
                found.append(os.path.basename(self.folders[at]))
            at = after
        return found

    def _end(self, at: int) -> int:
        """Number of the first folder after a folder and all below it."""
        inside = os.path.join(self.folders[at], "")
        at += 1
        while at < len(self.folders) and self.folders[at].startswith(inside):
            at += 1
        return at

    def holds(self) -> bool:
        """True if no folder has changed since it was walked, nor any of some files' sizes."""
        rows = np.random.default_rng(len(self)).integers(len(self), size=LOOKED_AT).tolist()
        with ThreadPoolExecutor(THREADS) as pool:
            try:
                return all(pool.map(self._same_folder, range(len(self.folders)))) and all(
                    pool.map(self._same_size, rows if len(self) else [])
                )
            except OSError:
                return False

    def _same_folder(self, at: int) -> bool:
        path = self.folders[at]
        if os.stat(path).st_mtime_ns != self.changed[at]:
            return False
        return len(os.listdir(path)) == self.entries[at]

    def _same_size(self, row: int) -> bool:
        size = self.names.size(row)
        return size < 0 or self.names[row].stat().st_size == size


def index_of(root: Path, anew: bool = False) -> FolderIndex:
    """The index of a folder: the one kept in the cache while no folder has changed, else a new one.

    Processes of one machine wait for the first: a folder is walked once. An image that is edited
    in place does not change its folder, nor its place in the index.

    Args:
        root: absolute path.
        anew: True to walk in any case.
    """
    file = kept_at("folders", root)
    if not anew and (kept := _read(file, str(root))) is not None:
        return kept
    with alone(file):
        if not anew and (kept := _read(file, str(root))) is not None:  # another has just walked
            return kept
        began = time.time_ns()
        found = FolderIndex.of(str(root), walk(str(root)))
        settled = began - int(SETTLED * 1e9)
        if len(found) >= KEPT_FROM and not found.dead and bool((found.changed < settled).all()):
            _keep(found, file)
    return found


def _read(file: Path, root: str) -> FolderIndex | None:
    """A kept index that is up to date; None for a missing, damaged or outdated one."""
    try:
        with np.load(file, allow_pickle=False) as kept:
            content: dict[str, Any] = {name: kept[name] for name in kept.files}
        head = json.loads(content.pop("head").tobytes())
        if head["version"] != VERSION or head["root"] != root:
            return None
        content["letters"] = content["letters"].tobytes()
        found = FolderIndex(root, list(head["folders"]), **content, linked=head["linked"])
        sound = len(found.names.ends) == len(found) + 1 and root in found.number
    except Exception:  # a damaged file makes NumPy and zipfile raise a dozen kinds
        return None
    return found if sound and found.holds() else None


def _keep(found: FolderIndex, file: Path) -> None:
    """Write an index in one step; if the cache cannot be written, do without."""
    head: dict[str, Any] = {"version": VERSION, "root": found.root, "folders": found.folders}
    head["linked"] = found.linked
    names = found.names
    assert names.sizes is not None
    arrays: dict[str, Any] = {
        "head": np.frombuffer(json.dumps(head).encode(), np.uint8),
        "letters": np.frombuffer(names.letters, np.uint8),
        "changed": found.changed,
        "entries": found.entries,
        "first": found.first,
        "ends": names.ends,
        "sizes": names.sizes,
        "numbers": found.numbers,
    }
    with suppress(OSError), replacing(file) as draft, draft.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
