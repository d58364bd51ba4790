"""Index files: what was read from runs, with the mark of the files that it was read from.

The first line is the checksum of the rest: a damaged index is none. One is replaced in one step: of
two processes at once each writes what it has seen. Where the folder cannot be written none is kept.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from genlab.files import check_regular, replacing

FRESH = 2 * 10**9  # nanoseconds in which a file may change again without another time


def read_index(file: Path, shape: list[str]) -> dict[str, Any]:
    """The entries of an index; none where it is damaged, or of another shape.

    Args:
        file: path of the index.
        shape: names of what an entry holds.
    """
    with suppress(OSError, ValueError):
        check_regular(file)
        checksum, _, text = file.read_bytes().partition(b"\n")
        if checksum.decode() == _checksum(text):
            content = json.loads(text)
            return dict(content["entries"]) if content["shape"] == shape else {}
    return {}


def write_index(file: Path, shape: list[str], entries: dict[str, Any]) -> None:
    """Replace an index, if that is possible."""
    text = json.dumps({"shape": shape, "entries": entries}, separators=(",", ":")).encode()
    with suppress(OSError), replacing(file) as draft:
        draft.write_bytes(f"{_checksum(text)}\n".encode() + text)


def _checksum(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def mark_of(*files: str) -> str:
    """The mark of files: place, size and times of each; empty where one changed in this moment."""
    newest, facts = 0, list[int]()
    for file in files:
        try:
            one = os.lstat(file)
        except OSError:
            facts.append(0)
            continue
        changed = one.st_mtime_ns
        facts += (changed, one.st_ctime_ns, one.st_size, one.st_ino)
        if changed > newest:
            newest = changed
    if newest > time.time_ns() - FRESH:
        return ""
    return hashlib.blake2b(repr(facts).encode(), digest_size=8).hexdigest()


@contextmanager
def many_objects() -> Iterator[None]:
    """Time in which Python does not look for garbage: half of what reading a large index takes."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
