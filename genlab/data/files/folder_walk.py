"""Walk of a folder: its files, their sizes and its sub-folders, by several threads at a time."""

from __future__ import annotations

import errno
import mimetypes
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial

from PIL import Image

from genlab import process

THREADS = 8  # of one walk: on network disks each waits most of the time
COMMON = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif")  # suffixes to name first
SLOW = 5.0  # seconds: a walk that takes longer says so

Identity = tuple[int, int]  # of a folder on this machine: device and number


@dataclass
class Folder:
    """A folder as it was walked.

    Args:
        path: absolute path.
        above: the folders that it lies in.
        changed: time of change in ns.
        entries: number of all its entries.
        names: its images, or other wanted files, sorted.
        sizes: bytes of each; -1 for a link to nothing.
        numbers: number of each on this machine, the same for all links to it.
        inside: its sub-folders, sorted.
        linked: number of its files and sub-folders that may be reached elsewhere too.
        circles: links that lead back to a folder that they lie in.
        dead: links to nothing that may have been links to folders.
    """

    path: str
    above: tuple[Identity, ...] = ()
    changed: int = 0
    entries: int = 0
    names: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    inside: list[str] = field(default_factory=list)
    linked: int = 0
    circles: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)


@cache
def suffixes() -> frozenset[str]:
    """Lower-case suffixes of the image formats that Pillow reads."""
    Image.init()
    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, kind in known if kind in Image.OPEN)


def is_image(name: str) -> bool:
    """True if a file's name has the suffix of an image."""
    return os.path.splitext(name)[1].lower() in suffixes()


def walk(root: str, wanted: Callable[[str], bool] = is_image) -> list[Folder]:
    """A folder and all below it, each before its sub-folders, those by name; none hidden.

    Links are followed, but not to a folder that they lie in.

    Args:
        root: absolute path.
        wanted: True for the names of files to list.
    """
    start, found = time.monotonic(), dict[str, Folder]()
    suffixes()  # before the threads
    with ThreadPoolExecutor(THREADS) as pool:
        level = [Folder(root)]
        while level:
            for folder in pool.map(partial(_look, wanted), level):
                found[folder.path] = folder
            level = [
                Folder(path, folder.above) for folder in level for path in _paths_inside(folder)
            ]
    circles = [link for folder in found.values() for link in folder.circles]
    _warn(circles, "links lead back to a folder that they lie in and are not followed")
    _warn([link for folder in found.values() for link in folder.dead], "links lead to nothing")
    order = _in_order(root, found)
    _say(root, sum(len(folder.names) for folder in order), time.monotonic() - start)
    return order


def _look(wanted: Callable[[str], bool], folder: Folder) -> Folder:
    """Fill in what is in a folder."""
    seen = os.stat(folder.path)
    folder.changed = seen.st_mtime_ns
    folder.above = (*folder.above, (seen.st_dev, seen.st_ino))
    files = dict[str, tuple[int, int]]()
    with os.scandir(folder.path) as entries:
        for entry in entries:
            folder.entries += 1
            if entry.name.startswith("."):
                continue
            folder.linked += entry.is_symlink()
            if _is_folder(entry):
                if entry.is_symlink() and _identity(entry.path) in folder.above:
                    folder.circles.append(entry.path)
                else:
                    folder.inside.append(entry.name)
            elif wanted(entry.name):
                files[entry.name] = _seen(entry, folder)
            elif entry.is_symlink() and _is_dead_folder(entry):
                folder.dead.append(entry.path)
    folder.inside.sort()
    folder.names = sorted(files)
    folder.sizes = [files[name][0] for name in folder.names]
    folder.numbers = [files[name][1] for name in folder.names]
    return folder


def _paths_inside(folder: Folder) -> Iterable[str]:
    return (os.path.join(folder.path, name) for name in folder.inside)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:  # a link to itself
            raise
        return False


def _identity(path: str) -> Identity:
    seen = os.stat(path)
    return seen.st_dev, seen.st_ino


def _seen(entry: os.DirEntry[str], folder: Folder) -> tuple[int, int]:
    """Size of a file, and a number that all links to it have in common."""
    try:
        seen = entry.stat()
    except OSError:  # a link to nothing
        return -1, -1
    folder.linked += seen.st_nlink > 1
    return seen.st_size, (seen.st_ino ^ seen.st_dev << 40) & 2**63 - 1


def _is_dead_folder(entry: os.DirEntry[str]) -> bool:
    """True for a link to nothing, unless its name is that of a file, such as README.txt."""
    return mimetypes.guess_type(entry.name)[0] is None and not os.path.exists(entry.path)


def _warn(links: list[str], what: str) -> None:
    if links and process.is_first():
        warnings.warn(f"{len(links)} {what}; first: {min(links)}", stacklevel=3)


def _in_order(root: str, found: dict[str, Folder]) -> list[Folder]:
    """Each folder before its sub-folders, without recursion."""
    order, waiting = [], [root]
    while waiting:
        folder = found[waiting.pop()]
        order.append(folder)
        waiting += reversed(list(_paths_inside(folder)))
    return order


def _say(root: str, files: int, seconds: float) -> None:
    if seconds > SLOW and process.is_first():
        print(f"{root}: {files:,} files listed in {seconds:.0f} s, once", file=sys.stderr)
