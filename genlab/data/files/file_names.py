"""Paths of a million files in the memory of their letters."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.int64]


class FileNames(Sequence[Path]):
    """Paths in a fixed order; each is made when it is asked for.

    Args:
        folders: paths of the folders.
        letters: names of all files, one after the other, as the system encodes them.
        ends: (N + 1,) where each name begins in ``letters``, and where the last one ends.
        folder: (N,) number of each file's folder.
        rows: (n,) the files meant, in order; None for all N.
        sizes: (N,) bytes of each file when it was listed, -1 where unknown; None for all unknown.
    """

    def __init__(
        self,
        folders: list[str],
        letters: bytes,
        ends: Numbers,
        folder: NDArray[np.int32],
        rows: Numbers | None = None,
        sizes: Numbers | None = None,
    ) -> None:
        self.folders, self.letters, self.ends, self.folder = folders, letters, ends, folder
        self.rows, self.sizes = rows, sizes

    @classmethod
    def of(cls, paths: Iterable[Path]) -> FileNames:
        """The same paths."""
        number: dict[str, int] = {}
        names, folder = [], []
        for path in paths:
            folder.append(number.setdefault(str(path.parent), len(number)))
            names.append(os.fsencode(path.name))
        ends = np.cumsum([0, *map(len, names)], dtype=np.int64)
        return cls(list(number), b"".join(names), ends, np.array(folder, np.int32))

    def __len__(self) -> int:
        return len(self.folder) if self.rows is None else len(self.rows)

    @overload
    def __getitem__(self, at: int) -> Path: ...

    @overload
    def __getitem__(self, at: slice) -> FileNames: ...

    def __getitem__(self, at: int | slice) -> Path | FileNames:
        if isinstance(at, slice):
            return self.subset(np.arange(len(self))[at])
        row = self._row(at)
        name = os.fsdecode(self.letters[self.ends[row] : self.ends[row + 1]])
        return Path(self.folders[self.folder[row]], name)

    def __add__(self, other: FileNames) -> FileNames:
        mine, theirs = self._folder_numbers(), other._folder_numbers() + len(self.folders)
        pieces = [*self._names(), *other._names()]
        ends = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
        folder = np.concatenate([mine, theirs]).astype(np.int32)
        sizes = np.concatenate([self._sizes(), other._sizes()])
        folders = [*self.folders, *other.folders]
        return FileNames(folders, b"".join(pieces), ends, folder, sizes=sizes)

    def subset(self, rows: Numbers) -> FileNames:
        """Some of the paths; the names are shared."""
        chosen = rows if self.rows is None else self.rows[rows]
        return FileNames(self.folders, self.letters, self.ends, self.folder, chosen, self.sizes)

    def size(self, at: int) -> int:
        """Bytes of a file when it was listed; -1 where unknown."""
        return -1 if self.sizes is None else int(self.sizes[self._row(at)])

    def _row(self, at: int) -> int:
        if not -len(self) <= at < len(self):
            raise IndexError(f"file {at} of {len(self)}")
        return int(range(len(self))[at] if self.rows is None else self.rows[at])

    def _every(self) -> Numbers:
        return np.arange(len(self.folder)) if self.rows is None else self.rows

    def _folder_numbers(self) -> NDArray[np.int32]:
        return self.folder[self._every()]

    def _names(self) -> list[bytes]:
        starts, ends = self.ends[self._every()].tolist(), self.ends[self._every() + 1].tolist()
        return [self.letters[a:b] for a, b in zip(starts, ends, strict=True)]

    def _sizes(self) -> Numbers:
        unknown = np.full(len(self), -1, np.int64)
        return unknown if self.sizes is None else self.sizes[self._every()]
