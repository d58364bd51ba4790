"""A disk that is full from some write on: for programs that run in this process."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SEAMS = ("open", "write", "fsync", "replace")


class FullDisk:
    """Counts the writes below a folder and lets one fail, or one and all that follow.

    A write is the creation of a file, a write into one, the wait for the disk, and a renaming.

    Args:
        folder: the disk.
        fails: number of the write that fails, from 1; 0 for none.
        stays: True if all later ones fail too.
    """

    def __init__(self, folder: Path, fails: int = 0, stays: bool = False) -> None:
        self.folder, self.fails, self.stays = str(folder), fails, stays
        self.count = 0
        self.kinds: list[str] = []

    def check(self, kind: str, path: Any) -> None:
        """Count one write, and fail if it is its turn."""
        if not os.path.abspath(path).startswith(self.folder):
            return
        self.count += 1
        self.kinds.append(f"{kind} {Path(str(path)).name}")
        if self.fails and (self.count == self.fails or (self.stays and self.count > self.fails)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    @contextmanager
    def mounted(self) -> Iterator[None]:
        """All of Python's ways to write a file lead through here."""
        opened, opened_low, synced, renamed = builtins.open, os.open, os.fsync, os.replace

        def open_(file: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
            if not set(mode) & set("wax+") or not isinstance(file, str | os.PathLike):
                return opened(file, mode, *rest, **more)
            self.check("open", os.fspath(file))
            made = opened(file, mode, *rest, **more)
            return _Watched(made, self, os.fspath(file))

        def low(path: Any, flags: int, *rest: Any, **more: Any) -> int:
            if flags & os.O_CREAT:
                self.check("open", path)
            return opened_low(path, flags, *rest, **more)

        def sync(number: int) -> None:
            self.check("fsync", os.readlink(f"/proc/self/fd/{number}"))
            synced(number)

        def rename(source: Any, target: Any, **more: Any) -> None:
            self.check("replace", target)
            renamed(source, target, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(builtins, "open", open_)
            patch.setattr(io, "open", open_)
            patch.setattr(os, "open", low)
            patch.setattr(os, "fsync", sync)
            patch.setattr(os, "replace", rename)
            yield


class _Watched:
    """A file whose writes are counted; it may end in the middle of one."""

    def __init__(self, file: Any, disk: FullDisk, path: str) -> None:
        self._file, self._disk, self._path = file, disk, path

    def write(self, data: Any) -> Any:
        try:
            self._disk.check("write", self._path)
        except OSError:
            self._file.write(data[: len(data) // 2])
            raise
        return self._file.write(data)

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def __iter__(self) -> Any:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
