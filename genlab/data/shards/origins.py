"""Images that ``genlab pack`` takes: a folder's, or those of a table, a data set or tar files."""

from __future__ import annotations

import inspect
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.files.dataset_folder import SPLITS, STATE
from genlab.data.files.folder_scan import Listing, scan
from genlab.data.files.hub import HUB
from genlab.data.files.named_parts import files_by_part
from genlab.data.files.table import SUFFIXES as TABLES
from genlab.errors import check_names

Found = tuple[list[str], dict[str, Listing]]  # names of classes, images by part
FOLDER = "ImageFolder"
KINDS = (FOLDER, "ImageTable", "HuggingFace", "WebDataset", "ImageNet", "TinyImageNet")


def found_in(
    place: str, kind: str = "", settings: dict[str, Any] | None = None, unlabeled: bool = False
) -> Found:
    """Names of the classes, and the images of each part.

    Args:
        place: folder, table, tar file or name of the hub.
        kind: one of `KINDS`; empty for what the place contains.
        settings: arguments of that class, such as ``label`` and ``split``.
        unlabeled: True to ignore the labels.

    Raises:
        MissingDataError, BrokenDataError: no such images.
        ValueError: an unknown class or setting, or one out of range.
    """
    kind = kind or _kind_of(place) or FOLDER
    if kind == FOLDER:
        root = Path(os.path.abspath(place))
        try:
            found = scan(root, unlabeled)
        except MissingDataError:
            if not root.is_dir() or not (kind := _kind_in(root)):
                raise
        else:
            if settings:
                raise ValueError(f"{place} is a folder of images: data.{min(settings)} has no use")
            return found
    return _listed(place, kind, settings or {}, unlabeled)


def _kind_of(place: str) -> str:
    """The class that reads a place by its name; empty for a folder."""
    root = Path(place).expanduser()
    if place.startswith(HUB) or any((root / name).is_file() for name in (SPLITS, STATE)):
        return "HuggingFace"
    if not root.is_dir() and root.suffix.lower() in TABLES:
        return "ImageTable"
    return "WebDataset" if root.is_file() and root.suffix.lower() == ".tar" else ""


def _kind_in(root: Path) -> str:
    """The class that reads a folder without image files; empty for none."""
    for kind, suffixes in (("HuggingFace", (".parquet", ".arrow")), ("WebDataset", (".tar",))):
        found: object = True
        with suppress(BrokenDataError):  # the class says it
            found = files_by_part(root, suffixes)
        if found:
            return kind
    return ""


def _listed(place: str, kind: str, settings: dict[str, Any], unlabeled: bool) -> Found:
    from genlab import data

    check_names("pack", [kind], KINDS, "source")
    make = getattr(data, kind)
    own = list(inspect.signature(make).parameters)[1:-1]  # the place is the first, then kwargs
    check_names(kind, settings, own)
    classes, parts = make(place, **settings).listing()
    if unlabeled:
        return [], {name: replace(part, labels=np.full(len(part.labels), -1))
                    for name, part in parts.items()}  # fmt: skip
    return classes, parts
