"""``pack``: images into shards that stream from network disks."""

from __future__ import annotations

import errno
import os
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import yaml

from genlab.errors import DiskError, RecipeError, RunError, fault_of, reason, told

PARTS = ("train", "val", "test")
REFUSED = (errno.ENOENT, errno.EROFS)  # of a folder to be made: the file system makes none


def pack_options(parser: ArgumentParser) -> None:
    """Pack images into tar shards, which data=ImageFolder data.root=SHARDS reads.

    SOURCE is a folder of images, a table of paths, a folder of Hugging Face's datasets library, one
    of webdataset's tar files, or hf-hub:OWNER/NAME. Its settings are those of a recipe:
    data.label=COLUMN, data.split=COLUMN; data=ImageNet names the layout of a folder.
    """
    parser.add_argument("folder", metavar="SOURCE")
    parser.add_argument("shards", nargs="?", metavar="SHARDS", help="a new folder")
    parser.add_argument("settings", nargs="*", metavar="data.KEY=VALUE", help="of the source")
    parser.add_argument("--size", type=float, default=256, metavar="MB", help="size of a shard")
    parser.add_argument(
        "--resize",
        type=int,
        metavar="N",
        help="shorter sides at most N, as JPEG; images of 16 bits or with transparency stay",
    )
    parser.add_argument("--quality", type=int, default=90, help="quality of that JPEG")
    parser.add_argument("--split", metavar="train,val,test", help="default: every split there is")
    parser.add_argument("--seed", type=int, default=0, help="seed of the order in the shards")
    parser.add_argument("--unlabeled", action="store_true", help="sub-folders are not classes")
    parser.add_argument("--skip-broken", action="store_true", help="leave out unreadable images")
    parser.add_argument("--check", action="store_true", help="compare FOLDER with its index")


def pack(
    folder: str,
    shards: str | None,
    settings: list[str],
    size: float,
    resize: int | None,
    quality: int,
    split: str | None,
    seed: int,
    unlabeled: bool,
    skip_broken: bool,
    check: bool,
) -> None:
    """Write the shards of some images, whole or not at all; or check those that are there."""
    if check != (shards is None) or "=" in (shards or ""):
        raise RecipeError(
            "genlab pack SOURCE SHARDS makes shards, genlab pack --check SHARDS checks"
        )
    kind, given = _settings(settings)
    try:
        if shards is None:
            _check(Path(folder))
            return
        from genlab.data.shards import origins, packing

        how = packing.Packing(size, resize, quality, seed, unlabeled)
        line, chosen = _Line(shards), _splits(split)
        packing.check_target(Path(shards))
        images = origins.found_in(folder, kind, given, unlabeled)
        found = packing.pack(
            Path(folder), Path(shards), how, chosen, skip_broken, line, _now, images
        )
    except ValueError as error:
        raise RecipeError(str(error)) from None
    except OSError as error:
        if shards is None:
            raise RunError(f"cannot check {folder}: {told(error)}") from None
        where = f"{error.filename}: " if error.filename else ""
        what = f"cannot pack into {shards}: {where}{reason(error)}"
        again = "the same command goes on after the last whole shard"
        if fault_of(error) is not None or error.errno in REFUSED:
            raise DiskError(f"{what}; {again}") from None
        raise RunError(f"{what}\n{again}") from None
    line.end()
    _say(found, shards)


def _now(line: str) -> None:
    if line:
        print(line, flush=True)  # before an hour of packing


def _settings(words: list[str]) -> tuple[str, dict[str, Any]]:
    """The class and its arguments: of ``data=ImageTable``, ``data.split=part``."""
    kind, found = "", {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or (key != "data" and not key.startswith("data.")):
            raise RecipeError(f"{word!r} is not data=CLASS or data.KEY=VALUE")
        if key == "data":
            kind = value
        else:
            found[key.removeprefix("data.")] = yaml.safe_load(value)
    return kind, found


def _splits(split: str | None) -> list[str]:
    names = [] if split is None else split.split(",")
    for name in names:
        if name not in PARTS:
            raise RecipeError(f"unknown --split {name!r}; choose from {', '.join(PARTS)}")
    return names


def _check(folder: Path) -> None:
    from genlab.data.shards import index

    print(f"{folder}: all {index.check(folder):,} images are as they were packed")


def _say(found: dict[str, Any], shards: str) -> None:
    for name, part in found["parts"].items():
        size = sum(shard["bytes"] for shard in part["shards"]) / 1e6
        print(f"{name}: {part['images']:,} images, {len(part['shards'])} shards, {size:,.1f} MB")
    if skipped := found["skipped"]:
        print(f"left out {len(skipped)} that cannot be read; first: {skipped[0]}")
    print(f"train on them with data.root={shards}")


class _Line:
    """How far it is: rewritten on a terminal, else a line now and then."""

    def __init__(self, name: str) -> None:
        self.name, self.terminal = name, os.isatty(2)
        self.pause = 0.2 if self.terminal else 30.0
        self.start = self.last = time.monotonic()
        self.before: int | None = None
        self.shown = False

    def __call__(self, done: int, total: int) -> None:
        """Say it, unless that was done a moment ago."""
        now = time.monotonic()
        if self.before is None:
            self.before = done
            if done:
                print(f"{self.name}: going on after {done:,} images", file=sys.stderr)
        if now - self.last < self.pause:
            return
        self.last = now
        rate = (done - self.before) / (now - self.start)
        left = (total - done) / rate if rate else float("inf")
        text = f"{self.name}: {done:,} of {total:,} images, {rate:,.0f}/s, {_clock(left)} left"
        print(f"\r{text:<78}" if self.terminal else text, end="" if self.terminal else "\n",
              file=sys.stderr, flush=True)  # fmt: skip
        self.shown = True

    def end(self) -> None:
        """Leave the line."""
        if self.shown and self.terminal:
            print(file=sys.stderr)


def _clock(seconds: float) -> str:
    if seconds == float("inf"):
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
