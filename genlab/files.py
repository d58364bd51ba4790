"""Files that are replaced in one step: the old one or the new one, never a part."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(target: Path, sync: bool = False) -> Iterator[Path]:
    """A path next to ``target`` to write to; it replaces the target when the block ends.

    If the block raises, the former file stays and the new one is removed. A device such as
    /dev/stdout is written to directly.

    Args:
        target: the file to replace, in a folder that exists.
        sync: True to have the content on the disk before the name.
    """
    if target.exists() and not target.is_file():
        yield target
        return
    draft = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    draft.unlink(missing_ok=True)  # a link of that name would be written through
    try:
        yield draft
        if sync:
            with draft.open("rb") as file:
                os.fsync(file.fileno())
        os.replace(draft, target)
    finally:
        draft.unlink(missing_ok=True)
