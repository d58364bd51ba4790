"""Index of shards: a table of byte offsets, through which any image is read.

A folder of shards is ``index.json`` (classes; per part the shards with their size and SHA-256),
per part a table ``train.npy``, and tar files ``train-000000.tar`` of members ``000000123.jpg`` with
``000000123.cls``: the format of the webdataset library, which reads them without the table.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.files.dataset_folder import plain_name
from genlab.files import text_of

FORMAT = "genlab shards 1"
INDEX = "index.json"
HEADER = 512  # bytes before every member of a tar file
ENTRY = np.dtype(
    [
        ("shard", "<u4"),
        ("offset", "<u8"),  # of the image's first byte in its shard
        ("length", "<u4"),
        ("label", "<i4"),  # -1 where unknown
        ("index", "<u4"),  # position in the sorted list of the part's files; the member's name
    ]
)
Entries = NDArray[Any]  # (N,) of ENTRY, by ascending index
OPEN = 256  # shards that a process keeps open
ASKED = 1024  # blocks that it remembers to have asked for


@dataclass(frozen=True)
class Part:
    """Train, val or test: its shards and the position of each image in them."""

    shards: list[Path]
    entries: Entries


def member(index: int) -> str:
    """The name of an image within its shard, without the suffix."""
    return f"{index:09d}"


def read_index(folder: Path) -> tuple[dict[str, Any], dict[str, Part]]:
    """Read ``index.json`` and the parts that it lists; check that every shard has its length.

    Raises:
        MissingDataError: no index, or no shard of it.
        BrokenDataError: an unreadable index, or a table or shard that does not match it.
    """
    file = folder / INDEX
    if not file.is_file():
        raise MissingDataError(
            f"no {INDEX} in {folder}: it is not a folder of shards; "
            "genlab pack FOLDER SHARDS makes one of a folder of images"
        )
    try:
        content = json.loads(text_of(file))
        if content["format"] != FORMAT:
            raise BrokenDataError(f"{file} has format {content['format']!r}, this reads {FORMAT!r}")
        _check_names(content["classes"])
        parts = {name: _part(folder, part) for name, part in content["parts"].items()}
    except (BrokenDataError, MissingDataError):
        raise
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError,
            RecursionError):  # fmt: skip
        raise BrokenDataError(f"{file} is not an index of shards, or is damaged") from None
    return content, parts


def _part(folder: Path, part: dict[str, Any]) -> Part:
    table, *shards = (
        folder / plain_name(name, folder / INDEX)
        for name in (part["table"], *(shard["name"] for shard in part["shards"]))
    )
    for file, size in zip(shards, (shard["bytes"] for shard in part["shards"]), strict=True):
        if not file.is_file():
            raise MissingDataError(f"shard {file} is missing; {INDEX} lists {len(shards)} of them")
        if file.stat().st_size != size:
            raise BrokenDataError(
                f"shard {file} has {file.stat().st_size:,} bytes, {INDEX} says {size:,}: "
                "truncated, or of other shards"
            )
    if not table.is_file():
        raise MissingDataError(f"table {table} is missing; {INDEX} names it")
    if sha256(table) != part["sha256"]:
        raise BrokenDataError(f"table {table} is damaged or of other shards: not {INDEX}'s SHA-256")
    entries = np.load(table)
    if entries.dtype != ENTRY or entries.ndim != 1 or (entries["shard"] >= len(shards)).any():
        raise BrokenDataError(f"table {table} is not one of {len(shards)} shards")
    return Part(shards, entries)


def _check_names(classes: Any) -> None:
    """Refuse class names that are not a list of texts."""
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise TypeError("classes are not names")


def check(folder: Path) -> int:
    """Compare every byte with the index; returns the number of images.

    Raises:
        MissingDataError, BrokenDataError: see `read_index`; a shard with another SHA-256.
    """
    content, parts = read_index(folder)
    for part in content["parts"].values():
        for shard in part["shards"]:
            if sha256(folder / shard["name"]) != shard["sha256"]:
                raise BrokenDataError(
                    f"shard {folder / shard['name']} is damaged: not {INDEX}'s SHA-256"
                )
    return sum(len(part.entries) for part in parts.values())


def sha256(file: Path) -> str:
    """SHA-256 of a whole file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class Shelf:
    """Shards opened on demand, from which any image is read by itself.

    Threads and worker processes may share it. At most `OPEN` files stay open.

    Args:
        shards: the files.
    """

    def __init__(self, shards: list[Path]) -> None:
        self.shards = shards
        self._open: OrderedDict[int, int] = OrderedDict()
        self._asked: OrderedDict[tuple[int, int, int], None] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"shards": self.shards}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def read(self, entry: Any) -> bytes:
        """An image as it was packed, with its place checked by the name and size before it.

        Raises:
            MissingDataError: the shard is gone.
            BrokenDataError: the shard does not contain it there, or cannot be read.
        """
        file, length = self.shards[int(entry["shard"])], int(entry["length"])
        start = int(entry["offset"]) - HEADER
        block = self.piece(int(entry["shard"]), start, HEADER + length)
        if len(block) < HEADER + length:
            raise BrokenDataError(f"shard {file} ends within image {member(entry['index'])}")
        name, size = block[:100].split(b".")[0], block[124:135]
        if name != member(entry["index"]).encode() or size != b"%011o" % length:
            raise BrokenDataError(
                f"shard {file} does not contain image {member(entry['index'])} at byte {start:,}: "
                f"damaged, or of other shards than {INDEX}"
            )
        return block[HEADER:]

    def piece(self, shard: int, start: int, length: int) -> bytes:
        """Bytes of a shard from a place on; fewer where it ends.

        Raises:
            MissingDataError: the shard is gone.
            BrokenDataError: it cannot be read.
        """
        file = self.shards[shard]
        try:
            with self._lock:
                return os.pread(self._descriptor(shard), length, start)
        except FileNotFoundError:
            raise MissingDataError(f"shard {file} is missing") from None
        except OSError as error:
            raise BrokenDataError(f"shard {file} cannot be read: {error.strerror}") from None

    def expect(self, entries: Entries, block: int = 1) -> None:
        """Tell the system which images are about to be read, so that it fetches them together.

        Args:
            entries: entries of the images.
            block: size in bytes of the blocks fetched, for files read from end to end.
        """
        if not hasattr(os, "posix_fadvise"):
            return
        first = (entries["offset"].astype(np.int64) - HEADER).clip(0) // block
        last = (entries["offset"].astype(np.int64) + entries["length"] - 1) // block
        spans = set(zip(entries["shard"].tolist(), first.tolist(), last.tolist(), strict=True))
        for shard, a, b in sorted(spans - self._asked.keys()):
            with self._lock:
                try:
                    where = self._descriptor(shard), a * block, (b + 1 - a) * block
                    os.posix_fadvise(*where, os.POSIX_FADV_WILLNEED)
                except OSError:  # only a hint; `read` says what is wrong
                    return
        if block > 1:  # else nothing is asked for twice
            self._asked.update(dict.fromkeys(spans))
            while len(self._asked) > ASKED:
                self._asked.popitem(last=False)

    def _descriptor(self, shard: int) -> int:
        if shard not in self._open:
            if len(self._open) >= OPEN:
                os.close(self._open.popitem(last=False)[1])
            self._open[shard] = os.open(self.shards[shard], os.O_RDONLY)
        self._open.move_to_end(shard)
        return self._open[shard]
