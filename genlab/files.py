"""Files that are replaced in one step: the old one or the new one, never a part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: Path, sync: bool = False) -> Iterator[Path]:
    """A path next to ``target`` to write to; it replaces the target when the block ends.

    If the block raises, the former file stays and the new one is removed. A link is replaced, never
    written through; a device below /dev, such as /dev/stdout, is written to directly.

    Args:
        target: the file to replace, in a folder that exists.
        sync: True to have the content on the disk before the name.
    """
    device = target.is_relative_to("/dev") or not target.is_symlink()
    if device and target.exists() and not target.is_file():
        yield target
        return
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    os.close(new_file(draft))
    try:
        yield draft
        if sync:
            with draft.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)


def new_file(file: Path, mode: int = 0o666) -> int:
    """A file that was not there, opened for writing; a link of its name is removed, not followed.

    Args:
        file: path of the file.
        mode: its permissions, less those that the user's umask withholds.
    """
    file.unlink(missing_ok=True)
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
