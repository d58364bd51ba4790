"""Files in the user's cache, made by one process of a machine while the others wait."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
        handle = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield
        return
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if not file.exists():  # what is too small to keep leaves nothing behind
            Path(f"{file}.lock").unlink(missing_ok=True)
        os.close(handle)
