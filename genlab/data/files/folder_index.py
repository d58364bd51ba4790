"""The images below a folder, walked once: large folders' lists are kept in the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from PIL import Image

from genlab import process
from genlab.files import replacing

KEPT_FROM = 1000  # images: a smaller folder is walked in less time than its list is read
SETTLED = 2.0  # seconds: a folder that changed later than this before the walk may change unseen
VERSION = 1  # of the kept file's form

Identity = tuple[int, int]  # of a folder on this machine: device and number
Entry = tuple[int, list[str], list[str]]  # time of change in ns, images, sub-folders; by name


class FolderIndex:
    """Names of images and sub-folders of every folder below a root, without hidden ones.

    Args:
        root: absolute path of the folder.
        entries: contents by path.
    """

    def __init__(self, root: str, entries: dict[str, Entry]) -> None:
        self.root, self.entries = root, entries

    def __len__(self) -> int:
        """Number of images."""
        return sum(len(pictures) for _, pictures, _ in self.entries.values())

    def pictures(self, folder: str, deep: bool = True) -> list[Path]:
        """Images of a folder, then of its sub-folders, each sorted by name.

        Args:
            folder: path at or below the root.
            deep: True to include sub-folders.
        """
        _, names, inside = self.entries[folder]
        found = [Path(folder, name) for name in names]
        for name in inside if deep else ():
            found += self.pictures(os.path.join(folder, name))
        return found

    def classes(self, folder: str) -> list[str]:
        """Names of the sub-folders that contain images at any depth, sorted."""
        return [name for name in self.entries[folder][2] if self._any(os.path.join(folder, name))]

    def _any(self, folder: str) -> bool:
        _, names, inside = self.entries[folder]
        return bool(names) or any(self._any(os.path.join(folder, name)) for name in inside)

    def holds(self) -> bool:
        """True if every folder has the time of change that it had when it was walked."""
        try:
            return all(os.stat(path).st_mtime_ns == seen[0] for path, seen in self.entries.items())
        except OSError:
            return False


def index_of(root: Path) -> FolderIndex:
    """The index of a folder: the one kept in the cache while no folder has changed, else a new one.

    Processes of one machine wait for the first: a folder is walked once. An image that is edited
    in place does not change its folder, nor its place in the index.

    Args:
        root: absolute path.
    """
    file = _file(root)
    if (kept := _read(file, str(root))) is not None:
        return kept
    with _alone(file):
        if (kept := _read(file, str(root))) is not None:  # another process has just walked
            return kept
        began = time.time_ns()
        found = _walk(str(root))
        settled = began - int(SETTLED * 1e9)
        if len(found) >= KEPT_FROM and all(seen[0] < settled for seen in found.entries.values()):
            _keep(found, file)
    return found


@cache
def suffixes() -> frozenset[str]:
    """Lower-case suffixes of the image formats that Pillow reads."""
    Image.init()
    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, kind in known if kind in Image.OPEN)


def _walk(root: str) -> FolderIndex:
    """The index of a folder and of what links lead to, but not of a folder within itself."""
    wanted, entries = suffixes(), dict[str, Entry]()
    inside: dict[str, tuple[Identity, ...]] = {root: ()}  # the folders that a folder lies in
    circles: list[str] = []
    for place, folders, names in os.walk(root, followlinks=True):
        found = os.stat(place)
        above = (*inside.pop(place), (found.st_dev, found.st_ino))
        places = {name: os.path.join(place, name) for name in folders if not name.startswith(".")}
        round_ = {name for name, path in places.items() if _leads_back(path, above)}
        circles += [places[name] for name in round_]
        folders[:] = sorted(places.keys() - round_)
        inside |= {places[name]: above for name in folders}
        shown = sorted(name for name in names if not name.startswith("."))
        pictures = [name for name in shown if os.path.splitext(name)[1].lower() in wanted]
        entries[place] = found.st_mtime_ns, pictures, list(folders)
    if circles and process.is_first():
        warnings.warn(
            f"{len(circles)} links lead back to a folder that they lie in and are not followed; "
            f"first: {min(circles)}",
            stacklevel=2,
        )
    return FolderIndex(root, entries)


def _leads_back(path: str, above: tuple[Identity, ...]) -> bool:
    """True if a link leads to one of the folders that it lies in."""
    if not os.path.islink(path):
        return False
    found = os.stat(path)
    return (found.st_dev, found.st_ino) in above


def _file(root: Path) -> Path:
    """Path of a folder's index in the user's cache."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:24]
    return Path(home, "genlab", "folders", f"{name}.json")


def _read(file: Path, root: str) -> FolderIndex | None:
    """A kept index that is up to date; None for a missing, damaged or outdated one."""
    try:
        content = json.loads(file.read_text())
        if content["version"] != VERSION or content["root"] != root:
            return None
        entries = {path: (int(t), list(p), list(f)) for path, t, p, f in content["entries"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    found = FolderIndex(root, entries)
    return found if root in entries and found.holds() else None


def _keep(found: FolderIndex, file: Path) -> None:
    """Write an index in one step; if the cache cannot be written, do without."""
    entries = [(path, *seen) for path, seen in found.entries.items()]
    content = {"version": VERSION, "root": found.root, "entries": entries}
    with suppress(OSError), replacing(file) as draft:
        draft.write_text(json.dumps(content))


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    """Wait for other processes that walk the same folder; where there are no locks, all walk."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(f"{file}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        yield
        return
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if not file.exists():  # a small folder leaves nothing behind
            Path(f"{file}.lock").unlink(missing_ok=True)
        os.close(handle)
