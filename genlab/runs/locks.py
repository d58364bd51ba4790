"""Ownership of a run directory: the lock of the process that trains in it."""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import TextIO

from genlab.errors import RunError, cannot_write

OWNER, MOST = re.compile(r"process ([1-9]\d{0,9}) on (.*)\n"), 1000  # characters of a lock file


def lock(path: Path, sure: bool = False) -> TextIO:
    """Lock a run directory for this process until the returned file is closed.

    Waits two seconds for a look to end (`genlab compare`), in a requeued job two minutes: a network
    file system frees a dead node's lock late.

    Args:
        path: the run directory.
        sure: True, for what removes files, to refuse also where the file system has no locks, but
            not if the last process that trained there is known to be gone.

    Raises:
        RunError: another live process is training in it, or may be.
    """
    handle = _own_file(path / ".lock")
    requeued = os.environ.get("SLURM_RESTART_COUNT", "0") != "0"
    end = time.monotonic() + (120 if requeued else 2)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
    except BlockingIOError:
        handle.seek(0)
        owner = handle.read().strip() or "another process"
        handle.close()
        raise RunError(f"{path} is in use by {owner}; wait for it or stop it first") from None
    except OSError:  # a file system without locks: the directory's own id is the protection left
        if sure and not _is_gone(handle):
            handle.close()
            raise RunError(f"{path} may be training: its file system has no locks") from None
        if sure:
            return handle
    handle.truncate(0)
    with suppress(OSError):  # a full disk: the name of the owner is for messages only
        os.write(handle.fileno(), f"process {os.getpid()} on {os.uname().nodename}\n".encode())
    return handle


def _own_file(file: Path) -> TextIO:
    """A small file to read and append to, made if it is not there; a link is not followed.

    Raises:
        RunError: it is a link, or cannot be opened.
    """
    try:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        return os.fdopen(os.open(file, flags, 0o644), "a+")
    except OSError as error:
        if file.is_symlink():
            raise RunError(f"cannot open {file}: it is a link") from None
        raise cannot_write(file, error) from None


def _is_gone(handle: TextIO) -> bool:
    """True if a lock file names a process of this machine that does not live any more."""
    handle.seek(0)
    owner = OWNER.fullmatch(handle.read(MOST))
    if owner is None or owner[2] != os.uname().nodename:
        return False
    try:
        os.kill(int(owner[1]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):  # another user's, or no process at all
        return False
    return False


def held(path: Path) -> bool:
    """True if a live process is known to have locked a run directory, see `lock`.

    Where the file system has no locks none is: before a removal ask for a `lock` that is ``sure``.
    """
    try:
        with (path / ".lock").open() as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
