"""Packing of a folder of images into tar shards with a table of byte offsets. No torch."""

from __future__ import annotations

import json
import os
import tarfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from genlab import runs
from genlab.data.errors import BrokenDataError
from genlab.data.files.decoding import Form, decode, flatten, room_for
from genlab.data.files.folder_scan import Listing, leads_nowhere, scan
from genlab.data.files.sixteen import jpeg_loses
from genlab.data.shards import plan
from genlab.data.shards.detail import crops_of, scaled
from genlab.data.shards.index import ENTRY, FORMAT, HEADER, INDEX, member, sha256
from genlab.files import replacing
from genlab.internals import messages, python_parts

Picture = tuple[int, bytes, str]  # position in the listing, bytes, why it cannot be read
Found = tuple[list[str], dict[str, Listing]]  # names of classes, images by part
Tell = Callable[[int, int], None]  # images done, of how many


@dataclass(frozen=True)
class Packing:
    """Settings of packing.

    Args:
        megabytes: largest size of a shard, unless one image has more.
        resize: shorter side in pixels to which larger images are scaled and written as JPEG, but
            for those of 16 bits or with transparency; None keeps the files' own bytes.
        quality: JPEG quality, 1 to 95.
        seed: seed of the order in which images are packed, so that a shard is drawn from all
            classes.
        unlabeled: True to ignore classes.

    Raises:
        ValueError: a value out of range.
    """

    megabytes: float = 256
    resize: int | None = None
    quality: int = 90
    seed: int = 0
    unlabeled: bool = False

    def __post_init__(self) -> None:
        if self.megabytes <= 0:
            raise ValueError(f"size {self.megabytes} must be more than 0 megabytes")
        if self.resize is not None and self.resize < 1:
            raise ValueError(f"resize {self.resize} must be at least 1 pixel")
        if not 1 <= self.quality <= 95:
            raise ValueError(f"quality {self.quality} must be 1 to 95")


def pack(
    root: Path,
    target: Path,
    packing: Packing,
    splits: Sequence[str] = (),
    skip_broken: bool = False,
    tell: Tell = lambda done, total: None,
    say: Callable[[str], None] = lambda line: None,
    found: Found | None = None,
) -> dict[str, Any]:
    """Make shards of images: all of them under ``target``, or nothing.

    They are written next to ``target`` and renamed at the end. Stopped, the same call goes on after
    the last whole shard. The bytes depend on the images and on ``packing`` only.

    Args:
        root: the folder, see `folder_scan.scan`.
        target: an empty or new folder.
        packing: settings.
        splits: parts among train, val and test; empty for all that exist.
        skip_broken: True to leave out unreadable images; else the first one is an error.
        tell: function called after every image.
        say: function called with a line on what random crops lose, before the first image.
        found: classes and images, see `origins.found_in`; None to scan ``root``.

    Returns:
        The content of ``index.json``; ``skipped`` names the images left out.

    Raises:
        MissingDataError: no images.
        BrokenDataError: one that cannot be read, by name.
        ValueError: a target that is not empty, or a missing split.
    """
    target = check_target(target)
    classes, parts = found or scan(Path(os.path.abspath(root)), packing.unlabeled)
    if missing := set(splits) - parts.keys():
        raise ValueError(
            f"unknown split {min(missing)!r}; choose from {', '.join(parts)} of {root}"
        )
    chosen = {name: part for name, part in parts.items() if not splits or name in splits}
    work = target.parent / f".{target.name}.packing"
    work.mkdir(parents=True, exist_ok=True)
    with runs.lock(work):
        if "train" in chosen:
            say(crops_of(chosen["train"], packing.resize, packing.seed))
        plan.prepare(work, chosen, asdict(packing))
        total, done = sum(len(part.files) for part in chosen.values()), 0
        written = {}
        for name, listing in chosen.items():
            shards = _Shards(work, name, listing, packing, skip_broken)
            written[name] = shards.write(partial(_tell_all, tell, done, total))
            done += len(listing.files)
        return _finish(work, target, written, {"classes": classes, "packed": asdict(packing)})


def check_target(target: Path) -> Path:
    """The absolute path of a folder for shards, refused if there is something in it."""
    target = Path(os.path.abspath(target))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise ValueError(f"{target} exists and is not empty; name a new folder")
    return target


def _tell_all(tell: Tell, before: int, total: int, count: int) -> None:
    tell(before + count, total)


def _finish(
    work: Path, target: Path, written: dict[str, list[dict[str, Any]]], facts: dict[str, Any]
) -> dict[str, Any]:
    """Join the tables, write the index, and give the folder its name."""
    content: dict[str, Any] = {"format": FORMAT, **facts, "parts": {}, "skipped": []}
    for name, shards in written.items():
        tables = [np.load(work / f"{shard['name']}.npy") for shard in shards]
        entries = np.concatenate(tables)
        for number, part in enumerate(np.split(entries, np.cumsum([len(t) for t in tables])[:-1])):
            part["shard"] = number
        if not len(entries):
            raise BrokenDataError(f"no image of {name} can be read")
        np.save(work / f"{name}.npy", entries[np.argsort(entries["index"])])
        content["skipped"] += [broken for shard in shards for broken in shard["skipped"]]
        kept = [{k: shard[k] for k in ("name", "images", "bytes", "sha256")} for shard in shards]
        content["parts"][name] = {
            "images": len(entries),
            "table": f"{name}.npy",
            "sha256": sha256(work / f"{name}.npy"),
            "shards": kept,
        }
    (work / INDEX).write_text(json.dumps(content, indent=1) + "\n")
    for file in [*work.glob("*.tar.npy"), *work.glob("*.tar.json"), work / "plan", work / ".lock"]:
        file.unlink()
    os.rename(work, target)
    return content


class _Shards:
    """The shards of one part in sequence; complete existing ones are kept."""

    def __init__(
        self, work: Path, name: str, listing: Listing, packing: Packing, skip_broken: bool
    ) -> None:
        self.work, self.name, self.listing = work, name, listing
        self.packing, self.skip_broken, self.read = packing, skip_broken, listing.reader()
        generator = np.random.default_rng(packing.seed)
        self.order = generator.permutation(len(listing.files)).tolist()

    def write(self, tell: Callable[[int], None]) -> list[dict[str, Any]]:
        """Entries of ``index.json`` for each shard, with ``next``, ``skipped``."""
        shards = plan.kept(self.work, self.name, self.order, self._again)
        start = shards[-1]["next"] if shards else 0
        tell(start)
        with ThreadPoolExecutor(4) as pool:
            pictures = _ahead(pool, self._picture, self.order[start:])
            first = next(pictures, None)
            while first is not None:
                shard, first = self._shard(self._file(len(shards)), first, pictures, start, tell)
                shards.append(shard)
                start = shard["next"]
        return shards

    def _file(self, number: int) -> str:
        return f"{self.name}-{number:06d}.tar"

    def _shard(
        self,
        name: str,
        picture: Picture | None,
        pictures: Iterator[Picture],
        done: int,
        tell: Callable[[int], None],
    ) -> tuple[dict[str, Any], Picture | None]:
        """Write one shard; also the first image that has no place in it."""
        entries: list[tuple[int, ...]] = []
        skipped, room = [], self.packing.megabytes * 2**20
        with (self.work / name).open("wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                while picture is not None and (
                    not entries or file.tell() + len(picture[1]) <= room
                ):
                    index, data, broken = picture
                    if broken:
                        skipped.append(self._refuse(broken))
                    else:
                        entries.append(self._add(tar, index, data))
                    done += 1
                    tell(done)
                    picture = next(pictures, None)
            file.flush()
            os.fsync(file.fileno())
        shard = {"name": name, "images": len(entries), "bytes": (self.work / name).stat().st_size,
                 "sha256": sha256(self.work / name), "next": done, "skipped": skipped}  # fmt: skip
        np.save(self.work / f"{name}.npy", np.array(entries, dtype=ENTRY))
        with replacing(self.work / f"{name}.json") as draft:  # once it is there, the shard is whole
            draft.write_text(json.dumps(shard))
        return shard, picture

    def _add(self, tar: tarfile.TarFile, index: int, data: bytes) -> tuple[int, int, int, int, int]:
        """Append an image and its label; returns its entry, but for the shard's number."""
        label = int(self.listing.labels[index])
        file, key = self.listing.files[index], member(index)
        jpeg = self.packing.resize is not None and data[:3] == b"\xff\xd8\xff"
        start = python_parts.end_of_archive(tar)
        _member(tar, key + (".jpg" if jpeg else file.suffix.lower() or _suffix(data)), data)
        if label >= 0:
            _member(tar, f"{key}.cls", str(label).encode())
        python_parts.forget_members(tar)
        return 0, start + HEADER, len(data), label, index

    def _picture(self, index: int) -> Picture:
        """An image's bytes, or the reason why it cannot be read."""
        file = self.listing.files[index]
        try:
            data = self.read(index)
            decode(BytesIO(data), Form(16, 3))
            return index, self._resized(data), ""
        except Exception as error:  # damaged files make PIL raise nearly anything
            dangling = leads_nowhere(error) and file.is_symlink()
            why = "a link to nothing" if dangling else messages.without_stream(error)
            return index, b"", f"{file}: {why}"

    def _again(self, images: list[int]) -> bool:
        """True if one of the images that were left out is to be packed after all."""
        if self.skip_broken:
            return False
        for why in filter(None, (self._picture(index)[2] for index in images)):
            self._refuse(why)
        return True

    def _refuse(self, broken: str) -> str:
        if not self.skip_broken:
            raise BrokenDataError(f"{broken}; --skip-broken leaves such images out")
        return broken

    def _resized(self, data: bytes) -> bytes:
        side = self.packing.resize
        with Image.open(BytesIO(data)) as picture:
            if side is None or min(picture.size) <= side:
                return data
            with room_for(picture):
                if jpeg_loses(picture, data):
                    return data
                upright = flatten(ImageOps.exif_transpose(picture))
        plain = upright if upright.mode == "L" else upright.convert("RGB")
        size = scaled(plain.size, side)
        small = plain.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)
        buffer = BytesIO()
        small.save(buffer, "JPEG", quality=self.packing.quality)
        return buffer.getvalue()


def _member(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)  # owner 0, time 0: the same bytes whoever packs when
    info.size = len(data)
    tar.addfile(info, BytesIO(data))


def _suffix(data: bytes) -> str:
    """The ending of the name of an image that has none."""
    with Image.open(BytesIO(data)) as picture:
        return f".{picture.format}".lower().replace("jpeg", "jpg")


def _ahead(
    pool: ThreadPoolExecutor, read: Callable[[int], Picture], rows: list[int], depth: int = 16
) -> Iterator[Picture]:
    """``map`` by threads that stay at most ``depth`` images ahead."""
    queue = deque(pool.submit(read, row) for row in rows[:depth])
    for row in rows[depth:]:
        yield queue.popleft().result()
        queue.append(pool.submit(read, row))
    while queue:
        yield queue.popleft().result()
