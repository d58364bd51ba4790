"""Images in tar files of the webdataset format that others have made."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn

from genlab.data.encoded_images import EncodedImages
from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.files.file_names import FileNames
from genlab.data.files.folder_scan import Listing
from genlab.data.files.folder_walk import THREADS
from genlab.data.files.label_names import in_order, numbers_of
from genlab.data.files.named_parts import files_by_part
from genlab.data.shards.foreign import Choice, Samples, json_labels, samples_of
from genlab.data.shards.index import INDEX
from genlab.data.shards.pieces import PLACE, Pieces
from genlab.errors import nearest

PACKED = (".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2")


class WebDataset(EncodedImages):
    """Images in tar files, read where they lie: the places of a file's images are listed once.

    A sample is the members whose names are equal up to the first dot, such as ``0001.jpg`` and
    ``0001.cls``; one without an image is left out. Which part a tar file belongs to its name or
    folder says, see `named_parts.files_by_part`. A part that is not there is split off from the
    training images. Classes are the labels that training images have, sorted, as numbers where
    all are whole numbers. ``index`` is the position among the images of the part, tar files by
    name. For what ``genlab pack`` made there is `ImageFolder`.

    Args:
        root: folder of tar files, not compressed; or one of them, which is all ``train``.
        image: ending of the images' names after the first dot; None for the only image of each
            sample.
        label: ending of the member with the label, a number or a name; ``json.KEY`` for a value
            in a JSON member; None for none. A sample without it, or with -1, has no label.
        **kwargs: arguments of `EncodedImages`.

    Raises:
        ValueError: a value out of range, or two that cannot be combined.
    """

    def __init__(
        self, root: str, image: str | None = None, label: str | None = "cls", **kwargs: Any
    ) -> None:
        super().__init__(root, **kwargs)
        if label == "json":
            raise ValueError("label json requires a key: json.KEY")
        self.choice = Choice(image, label)

    def listing(self) -> tuple[list[str], dict[str, Listing]]:
        """Classes and images of the tar files."""
        tars = _tars(Path(os.path.abspath(self.root)))
        list_one = partial(samples_of, choice=self.choice)
        with ThreadPoolExecutor(THREADS) as pool:
            parts = {part: list(pool.map(list_one, files)) for part, files in tars.items()}
        names = {part: [n for s in found for n in s.labels] for part, found in parts.items()}
        if names["train"] and self.choice.label is not None and not any(names["train"]):
            self._refuse_no_label(tars["train"][0], parts["train"])
        classes = in_order({name for name in names["train"] if name}, tars["train"][0].parent)
        listings: dict[str, Listing] = {
            part: _pieces(files, parts[part], numbers_of(names[part], classes, files[0].parent))
            for part, files in tars.items()
        }
        _tell_of_missing([one for found in parts.values() for one in found])
        return classes, listings

    def _refuse_no_label(self, tar: Path, found: Sequence[Samples]) -> None:
        endings = {ending: None for one in found for ending in one.endings}
        ending, hint = self.choice.ending(), ""
        if ending not in endings:
            hint = f"; members: {nearest(ending, endings)}"
        elif ending != self.choice.label:
            hint = f"; values in JSON: {nearest(self.choice.label, json_labels(tar))}"
        raise BrokenDataError(
            f"{tar.parent}: no sample has the label {self.choice.label}{hint}\n"
            "set data.label, json.KEY for a value in a JSON member, or null for none"
        )


def _pieces(tars: list[Path], found: list[Samples], labels: Any) -> Pieces:
    """The images of one part."""
    places = np.zeros(len(labels), PLACE)
    if not len(places):
        raise MissingDataError(f"no sample with an image in the tar files of {tars[0].parent}")
    places["shard"] = np.repeat(np.arange(len(tars)), [len(one.names) for one in found])
    places["offset"] = np.concatenate([one.offsets for one in found])
    places["length"] = np.concatenate([one.lengths for one in found])
    return Pieces(_paths(tars, found), labels, tars, places)


def _paths(tars: list[Path], found: list[Samples]) -> FileNames:
    names = [name for one in found for name in one.names]
    ends = np.cumsum([0, *map(len, names)], dtype=np.int64)
    folder = np.repeat(np.arange(len(tars), dtype=np.int32), [len(one.names) for one in found])
    return FileNames([str(tar) for tar in tars], b"".join(names), ends, folder)


def _tell_of_missing(found: list[Samples]) -> None:
    without, count = sum(one.without for one in found), sum(len(one.names) for one in found)
    if without:
        rank_zero_warn(
            f"{without} of {without + count} samples have no image and are left out", stacklevel=2
        )


def _tars(root: Path) -> dict[str, list[Path]]:
    """The tar files of every part.

    Raises:
        MissingDataError: no such folder, or none in it.
        BrokenDataError: shards of ``genlab pack``, or files of several data sets.
    """
    if root.is_file():
        return {"train": [root]}
    if not root.is_dir():
        raise MissingDataError(f"no folder {root}; data.root must be a folder of tar files")
    if (root / INDEX).is_file():
        raise BrokenDataError(f"{root} contains genlab's own shards: data=ImageFolder reads them")
    if found := files_by_part(root, (".tar",)):
        return found
    if packed := files_by_part(root, PACKED):
        name = next(iter(packed.values()))[0].name
        raise BrokenDataError(
            f"{root}: {name} is compressed; images are read by their places: decompress it"
        )
    raise MissingDataError(f"no tar files in {root}")
