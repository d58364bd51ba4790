"""Images inside larger files of any kind, read by the places where their bytes lie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genlab.data.errors import BrokenDataError
from genlab.data.files.decoding import Form
from genlab.data.files.file_names import FileNames
from genlab.data.files.folder_scan import Listing, state_of
from genlab.data.files.reader import Files
from genlab.data.files.workers import Filled, Wanted
from genlab.data.shards.index import Shelf
from genlab.data.splits import Rows

PLACE = np.dtype([("shard", "<u4"), ("offset", "<u8"), ("length", "<i8")])
Places = NDArray[Any]  # (N,) of PLACE; length 0 where an image is missing


@dataclass
class Pieces(Listing):
    """The images of one part inside files; `files` are their names in messages.

    Args:
        holders: the files that hold them.
        places: file of each image, and place in it.
    """

    holders: list[Path]
    places: Places

    def source(self, rows: Rows, form: Form, workers: int) -> PieceFiles:
        """The images of some rows, to be decoded."""
        labels, index = torch.from_numpy(self.labels[rows]), torch.from_numpy(rows)
        shelf, places = Shelf(self.holders), self.places[rows]
        return PieceFiles(shelf, places, self.files.subset(rows), labels, index, form, workers)

    def reader(self) -> Callable[[int], bytes]:
        """A function that returns an image's bytes by its row."""
        shelf = Shelf(self.holders)

        def read(row: int) -> bytes:
            shard, offset, length = self.places[row].tolist()
            data = shelf.piece(shard, offset, length)
            if len(data) < length:
                raise BrokenDataError(f"{self.holders[shard]} ends within {self.files[row]}")
            return data

        return read

    def states(self) -> Iterator[str]:
        """Place of every image, and size and time of change of the file that holds it."""
        held = [state_of(file) for file in self.holders]
        return (f"{held[shard]}\0{at}\0{size}" for shard, at, size in self.places.tolist())


class PieceFiles(Files):
    """Images decoded out of larger files when they are asked for.

    Args:
        shelf: the files that hold them.
        places: (N,) places of the images.
        paths: (N,) names in messages.
        labels, index, form, workers: arguments of `Files`.
    """

    def __init__(
        self,
        shelf: Shelf,
        places: Places,
        paths: FileNames,
        labels: Tensor,
        index: Tensor,
        form: Form,
        workers: int,
    ) -> None:
        super().__init__(paths, labels, index, form, workers)
        self.shelf, self.places = shelf, places

    def open(self, row: int) -> BytesIO:
        """The image's bytes; none where it is missing, which decoding then says."""
        shard, offset, length = self.places[row].tolist()
        data = self.shelf.piece(shard, offset, length)
        if len(data) < length:
            raise BrokenDataError(f"{self.shelf.shards[shard]} ends within {self.name(row)}")
        return BytesIO(data)

    def fill(self, wanted: Wanted, batch: list[Tensor]) -> Filled:
        """Write a batch, see `Files`; all of it is requested before the first image is decoded."""
        places = self.places[wanted.rows]
        self.shelf.expect(places[places["length"] > 0])
        return super().fill(wanted, batch)


def numbered(folders: list[str], counts: list[int]) -> FileNames:
    """Names of images that have none: ``FILE/image 0`` ... for each file."""
    names = [b"image %d" % k for count in counts for k in range(count)]
    ends = np.cumsum([0, *map(len, names)], dtype=np.int64)
    holder = np.repeat(np.arange(len(folders), dtype=np.int32), counts)
    return FileNames(folders, b"".join(names), ends, holder)
