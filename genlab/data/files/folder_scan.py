"""Scan of a folder: its images, and classes from its sub-folders."""

from __future__ import annotations

import difflib
import errno
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genlab import process
from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.files.file_names import FileNames
from genlab.data.files.folder_index import FolderIndex, index_of
from genlab.data.files.folder_walk import COMMON, suffixes
from genlab.data.splits import Rows

if TYPE_CHECKING:
    from genlab.data.files.decoding import Form
    from genlab.data.files.reader import Files

PARTS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}

NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
TINY = "val_annotations.txt"  # in ``val`` of TinyImageNet
DOWNLOADED = ("ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "CLS-LOC")  # of ImageNet: train, val and test


@dataclass
class Listing:
    """Image files in a fixed order, with labels (-1 where unknown)."""

    files: FileNames
    labels: Rows

    def subset(self, rows: Rows) -> Listing:
        """The listing of some rows."""
        return Listing(self.files.subset(rows), self.labels[rows])

    def source(self, rows: Rows, form: Form, workers: int) -> Files:
        """The images of some rows, to be decoded."""
        import torch  # packing does without

        from genlab.data.files.reader import Files

        chosen = self.subset(rows)
        labels, index = torch.from_numpy(chosen.labels), torch.from_numpy(rows)
        return Files(chosen.files, labels, index, form, workers)

    def reader(self) -> Callable[[int], bytes]:
        """A function that returns an image's bytes by its row."""
        from genlab.data.files.decoding import check_file  # listing does without Pillow

        def read(row: int) -> bytes:
            check_file(file := self.files[row])
            return file.read_bytes()

        return read

    def states(self) -> Iterator[str]:
        """Size and time of change of every image's file; empty where there is none."""
        return map(state_of, self.files)

    def plus(self, other: Listing) -> Listing:
        """Concatenation with another listing."""
        return Listing(self.files + other.files, np.concatenate([self.labels, other.labels]))


def state_of(file: Path) -> str:
    """A file's size and time of change; empty where there is none."""
    try:
        found = file.stat()
    except OSError as error:
        if not leads_nowhere(error):
            raise
        return ""
    return f"{found.st_size}\0{found.st_mtime_ns}"


def leads_nowhere(error: Exception) -> bool:
    """True if a path has no file at its end, or is a link to itself."""
    return isinstance(error, OSError) and error.errno in NOWHERE


def scan(
    root: Path, unlabeled: bool = False, anew: bool = False
) -> tuple[list[str], dict[str, Listing]]:
    """The names of the classes, and the images of ``train`` and of ``val`` and ``test`` if given.

    Three layouts: ``train/`` with ``val/`` or ``test/`` next to it; one folder a class; images
    only. A folder's sub-folders that contain images (at any depth) are its classes, sorted by name;
    images next to them have no label.

    Args:
        root: the folder.
        unlabeled: True to ignore classes.
        anew: True not to use a list kept in the cache, see `folder_index.index_of`.

    Raises:
        MissingDataError: no such folder, or no images in it.
        BrokenDataError: a class of val or test that train does not have, a link to nothing
            instead of a class or part, or the parts of ImageNet in a folder further down.
    """
    if not root.is_dir():
        raise MissingDataError(_no_folder(root))
    places = {"train": root}
    _check_links(root)
    if not unlabeled:
        _check_depth(root)
    if (root / "train").is_dir():
        for part, names in PARTS.items():
            found = [root / name for name in names if (root / name).is_dir()]
            places |= {part: found[0]} if found else {}
    indices = {part: index_of(place, anew) for part, place in places.items()}
    classes = [] if unlabeled else indices["train"].classes(str(places["train"]))
    parts = {part: listed(index, classes, unlabeled) for part, index in indices.items()}
    for part, listing in parts.items():
        if not listing.files:
            raise MissingDataError(
                f"no images in {os.path.abspath(places[part])} "
                f"(looked for {', '.join(COMMON)} and {len(suffixes() - set(COMMON))} others)"
            )
    _warn_of_shared(indices)
    return classes, parts


def listed(index: FolderIndex, classes: list[str], unlabeled: bool) -> Listing:
    """Images of a folder, with the numbers of its sub-folders among the classes as labels.

    Args:
        index: the folder's images.
        classes: names in the order of their labels.
        unlabeled: True to give every image the label -1.

    Raises:
        BrokenDataError: a sub-folder that is not a class.
    """
    root = index.root
    if unlabeled:
        files = index.pictures(root)
        return Listing(files, np.full(len(files), -1))
    unknown = sorted(set(index.classes(root)) - set(classes))
    if unknown:
        near = difflib.get_close_matches(unknown[0], classes, 1)
        hint = f"; nearest is {near[0]!r}" if near else ""
        if os.path.isfile(os.path.join(root, TINY)):
            hint = "; for this layout there is data=TinyImageNet"
        place = os.path.join(root, unknown[0])
        raise BrokenDataError(f"{place} is not a class of the training images{hint}")
    labels = np.full(len(index), -1, dtype=np.int64)
    for label, name in enumerate(classes):
        if (folder := os.path.join(root, name)) in index.number:
            labels[index.rows(folder)] = label
    return Listing(index.names, labels)


def _check_links(root: Path) -> None:
    for place in (root / name for names in PARTS.values() for name in names):
        if place.is_symlink() and not place.exists():
            raise BrokenDataError(f"{place} is a link to nothing")


def _check_depth(root: Path) -> None:
    """Refuse a download of ImageNet, whose only class would be ``ILSVRC``."""
    for name in DOWNLOADED:
        if not (root / "train").is_dir() and (root / name / "train").is_dir():
            raise BrokenDataError(
                f"{root} is a download of ImageNet; its parts are in {name}: "
                f"data=ImageNet data.root={root}"
            )


def _warn_of_shared(indices: dict[str, FolderIndex]) -> None:
    """One line on files that are linked as training images and as others."""
    if not any(index.linked for index in indices.values()):
        return
    train = np.sort(indices["train"].numbers)
    told, first = list[str](), None
    for part, index in indices.items():
        near = train[np.searchsorted(train[:-1], index.numbers)]
        shared = np.flatnonzero((near == index.numbers) & (near >= 0))
        if part != "train" and len(shared):
            told.append(f"{len(shared)} of {len(index)} {part} images")
            first = first or index.names[int(shared[0])]
    if told and process.is_first():
        said = f"{' and '.join(told)} are links to training images; first: {first}"
        warnings.warn(said, stacklevel=3)


def _no_folder(root: Path) -> str:
    """One line on a path that is not a folder, with the nearest existing name."""
    if root.exists():
        return f"{os.path.abspath(root)} is a file; data.root must be a folder of images"
    parent = next(place for place in root.absolute().parents if place.is_dir())
    wanted = root.absolute().relative_to(parent).parts[0]
    near = difflib.get_close_matches(wanted, [p.name for p in parent.iterdir()], 1, cutoff=0.5)
    hint = f"; nearest in {parent} is {near[0]!r}" if near else f"; {parent} exists"
    return f"no folder {os.path.abspath(root)}{hint}"
