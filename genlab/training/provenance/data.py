"""The images of a run: numbers, and a hash of as much of them as a start has time for."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from genlab.data.images import Images
from genlab.data.in_memory import Pictures

if TYPE_CHECKING:
    from genlab.data.files.file_names import FileNames

MOST = 64 * 2**20  # bytes of images that are hashed


def facts(data: object) -> dict[str, Any]:
    """Part of run.json: ``name``, ``images`` of each split, ``sha256`` and what it is of.

    Args:
        data: the run's data module, set up; of one that is not genlab's only its name is known.
    """
    found: dict[str, Any] = {"name": type(data).__name__}
    if not isinstance(data, Images):
        return found
    found["images"] = {name: len(rows) for name, rows in data.splits().items()}
    sources = {name: loader.source for name, loader in data.every_image()}
    pictures = [one for one in sources.values() if isinstance(one, Pictures)]
    size = sum(one.images.nbytes for one in pictures)
    if pictures:
        found["bytes_in_memory"] = size
    whole = len(pictures) == len(sources) and size <= MOST
    paths = {} if pictures else _paths(sources)
    hashed = hashlib.sha256()
    for name, source in sources.items():
        hashed.update(f"{name} {len(source)}\0".encode())
        for values in (source.labels, source.index):
            hashed.update(values.numpy().astype("<i8").tobytes())
        if isinstance(source, Pictures) and whole:
            hashed.update(f"{source.images.dtype} {tuple(source.images.shape)}".encode())
            hashed.update(source.images.numpy().data)
        elif paths:
            _names(hashed, paths[name], data)
    kind = "images" if whole else "names and sizes of files" if paths else "positions"
    return found | {"sha256": hashed.hexdigest(), "sha256_of": f"labels and {kind}"}


def _paths(sources: dict[str, Any]) -> dict[str, FileNames]:
    """The files of sources that are lists of files; empty where one is not."""
    from genlab.data.files.file_names import FileNames  # most sets do without

    found = {name: getattr(one, "paths", None) for name, one in sources.items()}
    listed = {name: one for name, one in found.items() if isinstance(one, FileNames)}
    return listed if len(listed) == len(found) else {}


def _names(hashed: Any, paths: FileNames, data: Images) -> None:
    """Hash the names of files below the data's folder, and their sizes where the list has them."""
    for folder in paths.folders:
        hashed.update(os.fsencode(os.path.relpath(folder, data.root)) + b"\0")
    hashed.update(paths.letters)
    for values in (paths.ends, paths.folder, paths.rows, paths.sizes):
        hashed.update(b"" if values is None else np.asarray(values, "<i8").tobytes())
