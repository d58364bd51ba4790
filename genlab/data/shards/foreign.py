"""Samples in tar files of the webdataset format, listed once by the places of their images.

A sample is the members of one name, up to its first dot: ``0001.jpg``, ``0001.cls``.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.files.cache import alone, kept_at
from genlab.data.files.file_names import Numbers
from genlab.data.files.folder_walk import suffixes
from genlab.errors import first_line, nearest
from genlab.files import check_regular, replacing
from genlab.internals import python_parts

VERSION = 1  # of the kept file's form
MOST_LABEL = 2**20  # bytes of a member that says the label
REST = 2**20  # bytes behind a tar file's end mark that are looked at
Place = tuple[int, int]  # of a member's bytes: offset, length
GZIP, ZSTD, XZ = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ"


@dataclass(frozen=True)
class Choice:
    """Choice of the members of a sample.

    Args:
        image: ending of the image's name after the first dot; None for the only image.
        label: ending of the label's, a number or a name; ``json.KEY`` for a value in a JSON
            member, ``json.KEY.KEY`` within another; None for none.
    """

    image: str | None
    label: str | None

    def ending(self) -> str | None:
        """The ending of the label's member."""
        if self.label is None or not self.label.startswith("json."):
            return self.label
        return "json"


@dataclass(frozen=True)
class Samples:
    """The images of a tar file.

    Args:
        names: bytes of their members' names.
        offsets, lengths: (N,) places of their bytes.
        labels: their labels as text, empty where there is none.
        without: number of samples without an image.
        endings: endings of members, the most frequent first.
    """

    names: list[bytes]
    offsets: Numbers
    lengths: Numbers
    labels: list[str]
    without: int
    endings: list[str]


def samples_of(tar: Path, choice: Choice) -> Samples:
    """The images of a tar file: as kept in the user's cache until the file changes, else read anew.

    Raises:
        MissingDataError: no such file.
        BrokenDataError: not a tar file of samples, or a label that is none.
    """
    if not tar.is_file():
        raise MissingDataError(f"no file {tar}")
    seen = tar.stat()
    facts = [VERSION, str(tar), seen.st_size, seen.st_mtime_ns, choice.image, choice.label]
    head, file = json.dumps(facts), kept_at("tars", tar)
    if (kept := _read(file, head)) is not None:
        return kept
    with alone(file):
        if (kept := _read(file, head)) is not None:  # another process has just listed it
            return kept
        found = _listed(tar, choice)
        _keep(file, head, found)
    return found


def _listed(tar: Path, choice: Choice) -> Samples:
    samples, endings = _members(tar)
    names, offsets, lengths, labels = [], [], [], []
    with tar.open("rb") as stream:
        for key, members in samples.items():
            image = _image(tar, key, members, choice.image)
            if image is None:
                continue
            names.append(os.fsencode(f"{key}.{image}"))
            offsets.append(members[image][0])
            lengths.append(members[image][1])
            labels.append(_label(tar, stream, key, members, choice))
    if choice.image is not None and choice.image not in endings:
        hint = nearest(choice.image, endings)
        raise BrokenDataError(f"{tar}: no member is named *.{choice.image}; {hint}")
    return Samples(
        names,
        np.array(offsets, np.int64),
        np.array(lengths, np.int64),
        labels,
        len(samples) - len(names),
        endings,
    )


def _members(tar: Path) -> tuple[dict[str, dict[str, Place]], list[str]]:
    """The files of each sample by the ending of their names; and all endings."""
    samples: dict[str, dict[str, Place]] = {}
    endings = Counter[str]()
    try:
        check_regular(tar)
        with tarfile.open(tar, "r:") as archive:
            while (member := archive.next()) is not None:
                python_parts.forget_members(archive)
                place, _, base = member.name.rpartition("/")
                stem, dot, ending = base.partition(".")
                if not member.isreg() or not stem or not dot or member.issparse():
                    continue
                key, ending = f"{place}/{stem}" if place else stem, ending.lower()
                members = samples.setdefault(key, {})
                if ending in members:
                    raise BrokenDataError(f"{tar} contains two files named {member.name!r}")
                members[ending] = member.offset_data, member.size
                endings[ending] += 1
            end = python_parts.end_of_archive(archive)
        _check_end(tar, end)
    except BrokenDataError:
        raise
    except Exception as error:  # a damaged header makes tarfile raise half a dozen kinds
        raise BrokenDataError(f"{tar} is not a tar file: {_why(tar, error)}") from None
    return samples, [ending for ending, _ in endings.most_common()]


def _check_end(tar: Path, end: int) -> None:
    """Refuse a tar file that has no end mark, or members behind it: tarfile skips them."""
    with tar.open("rb") as stream:
        stream.seek(end)
        rest = stream.read(REST)
    if not rest:
        raise BrokenDataError(f"{tar} has no end mark: truncated?")
    if any(rest[:512]):
        raise BrokenDataError(f"{tar} is damaged at byte {end:,}")
    if any(rest):
        raise BrokenDataError(f"{tar} goes on behind its end mark: several tar files in one")


def _why(tar: Path, error: Exception) -> str:
    try:
        with tar.open("rb") as stream:
            start = stream.read(6)
    except OSError:
        return first_line(error)
    if start.startswith((GZIP, ZSTD, XZ)):
        return "it is compressed; images are read by their places: decompress it"
    return first_line(error)


def _image(tar: Path, key: str, members: dict[str, Place], asked: str | None) -> str | None:
    """The ending of a sample's image; None if it has none."""
    if asked is not None:
        return asked if asked in members else None
    found = [ending for ending in members if f".{ending}" in suffixes()]
    if len(found) > 1:
        raise BrokenDataError(
            f"{tar}: {key} has several images: {', '.join(sorted(found))}; set data.image"
        )
    return found[0] if found else None


def _label(
    tar: Path, stream: IO[bytes], key: str, members: dict[str, Place], choice: Choice
) -> str:
    """The label of a sample as text; empty if it has none, or -1."""
    ending = choice.ending()
    if ending is None or (member := members.get(ending)) is None:
        return ""
    where = f"{tar}/{key}.{ending}"
    offset, size = member
    if size > MOST_LABEL:
        raise BrokenDataError(f"{where} is not a label: it has {size:,} bytes")
    stream.seek(offset)
    try:
        text = stream.read(size).decode("utf-8-sig").strip()
        value = text if ending == choice.label else _value(text, str(choice.label), where)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        kind = "JSON" if ending == "json" else "text"
        raise BrokenDataError(f"{where} is not {kind}: {first_line(error)}") from None
    if len(value.splitlines()) > 1:
        raise BrokenDataError(f"{where} is not a label: it has several lines")
    return "" if value == "-1" else value


def _value(text: str, label: str, where: str) -> str:
    """A value in a JSON member by its keys; empty for null, or where the last key is missing."""
    value: Any = json.loads(text)
    for key in label.split(".")[1:]:
        if not isinstance(value, dict):
            raise BrokenDataError(f"{where}: {label} is not in a mapping")
        value = value.get(key)
        if value is None:
            return ""
    if not isinstance(value, str | int):
        raise BrokenDataError(f"{where}: {label} is {str(value)[:40]}, not a number or a name")
    return str(value)


def json_labels(tar: Path) -> list[str]:
    """``json.KEY`` of every value in the first JSON member of a tar file."""
    with tarfile.open(tar, "r:") as archive:
        for member in archive:
            stream = archive.extractfile(member) if member.name.lower().endswith(".json") else None
            if stream is not None:
                return _keys(json.loads(stream.read(MOST_LABEL)), "json")
    return []


def _keys(value: Any, above: str) -> list[str]:
    if not isinstance(value, dict):
        return [above]
    return [name for key, inner in value.items() for name in _keys(inner, f"{above}.{key}")]


def _read(file: Path, head: str) -> Samples | None:
    """A kept list of the same file and members; None for a missing, damaged or outdated one."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            if kept["head"].tobytes().decode() != head:
                return None
            content = json.loads(kept["content"].tobytes())
            names = [os.fsencode(name) for name in content.pop("names")]
            found = Samples(names, kept["offsets"], kept["lengths"], **content)
    except Exception:  # a damaged file makes NumPy and zipfile raise a dozen kinds
        return None
    counts = {len(found.names), len(found.offsets), len(found.lengths), len(found.labels)}
    return found if len(counts) == 1 else None


def _keep(file: Path, head: str, found: Samples) -> None:
    """Write a list in one step; if the cache cannot be written, do without."""
    names = [os.fsdecode(name) for name in found.names]
    content = {"names": names, "labels": found.labels, "without": found.without}
    text = json.dumps(content | {"endings": found.endings[:100]}).encode()
    try:
        with replacing(file) as draft, draft.open("wb") as stream:
            np.savez(
                stream,
                head=np.frombuffer(head.encode(), np.uint8),
                content=np.frombuffer(text, np.uint8),
                offsets=found.offsets,
                lengths=found.lengths,
            )
    except OSError:
        return
