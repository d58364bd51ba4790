"""Files that are replaced in one step: the old one or the new one, never a part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: Path, sync: bool = False) -> Iterator[Path]:
    """A path beside ``target`` to write to; it takes the target's place when the block ends.

    Where the block raises, the file that was there stays and what was written goes.

    Args:
        target: the file to replace, in a folder that exists.
        sync: whether the content must be on the disk before the name is.
    """
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield beside
        if sync:
            with beside.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)
