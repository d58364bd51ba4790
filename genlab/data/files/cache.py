"""Files in the user's cache, made by one process of a machine while the others wait."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

READING: dict[Path, int] = {}  # open locks by path: workers that are forked hold them too


def kept_at(kind: str, origin: Path | str, suffix: str = ".npz") -> Path:
    """Path in the user's cache of what is made of a file or folder.

    Args:
        kind: folder of the cache.
        origin: absolute path of the file or folder, or text that says what is made of which file.
        suffix: ending of the name.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = hashlib.sha256(os.fsencode(origin)).hexdigest()[:24]
    return Path(home, "genlab", kind, f"{name}{suffix}")


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """Wait for other processes that make the same file; where there are no locks, all make it."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = _locked(f"{file}.lock")
    except OSError:
        yield
        return
    try:
        yield
    finally:
        if not file.exists():  # what is too small to keep leaves nothing behind
            Path(f"{file}.lock").unlink(missing_ok=True)
        os.close(handle)


def _locked(path: str) -> int:
    """A lock file that is held; one that its last holder has deleted meanwhile is made again."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.fstat(handle), os.stat(path, follow_symlinks=False)):
                return handle
        except FileNotFoundError:
            pass
        os.close(handle)


def read_copies(shelf: Path) -> None:
    """Read copies in a part of the cache as long as this process lives; call it before making one.

    Of every file the newest copy is kept; older ones are deleted while nobody else reads any.

    Args:
        shelf: folder of one folder an origin, see `kept_at`.
    """
    with suppress(OSError):  # a cache that cannot be written, or has no locks: nothing is deleted
        if shelf in READING:
            return
        shelf.mkdir(parents=True, exist_ok=True)
        handle = os.open(shelf / ".readers", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        READING[shelf] = handle
        if _is_only_reader(handle):
            for folder in shelf.iterdir():
                _keep_newest(folder)
        fcntl.flock(handle, fcntl.LOCK_SH)


def _is_only_reader(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _keep_newest(folder: Path) -> None:
    """Delete the files of all copies in a folder but the last that was completed; locks stay."""
    done = [(file.stat().st_mtime_ns, file.stem) for file in folder.glob("*.npz")]
    for file in folder.iterdir() if done else ():
        if file.stem != max(done)[1] and file.suffix != ".lock":
            file.unlink(missing_ok=True)
