"""Images streamed from tar shards: any image by itself, or the shards from end to end.

`genlab pack` makes the shards, `ImageFolder` reads them when its ``root`` is a folder of them.

Reasons for tar files in the manner of webdataset (Aizman, Maltby, Breuel 2020, arXiv:2001.01858;
its library reads ours as they are), with a table of byte offsets next to them, and not:

- the webdataset library's own pipeline: the order depends on how many workers and nodes share the
  shards, their epochs differ in length, and a pass cannot go on in its middle;
- LitData: its chunks can be read by LitData only, and it would be one more dependency.

With the table, who reads which image is arithmetic: the order of an epoch is a permutation that
knows neither ranks nor workers, every rank takes its share of it, and a pass goes on at any batch
without reading what came before. Nothing is shuffled in memory.

Memory of a process, measured with two million entries: 108 bytes an image (table, labels,
positions, order of the epoch), 137 in the order of shards, 185 while that is drawn; workers share
it. In flight are
``(2 x workers + 3) x B x V x C x size x size`` bytes of decoded images, B being this rank's batch
and V its views. What the system caches of the shards it can drop.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genlab.data.errors import BrokenDataError
from genlab.data.files.decoding import Form
from genlab.data.files.file_names import FileNames
from genlab.data.files.folder_scan import Listing
from genlab.data.files.reader import Files
from genlab.data.files.workers import Filled, Wanted
from genlab.data.loader import TrainLoader
from genlab.data.shards.index import Part, Shelf, member, read_index
from genlab.data.splits import Rows

STREAMS = 64  # places in the shards that are read at the same time, over all ranks
BLOCK = 4 * 2**20  # bytes that are fetched at once where shards are read from end to end


@dataclass
class Packed(Listing):
    """The images of one part as a listing; `files` is empty, they lie in ``part``.

    Args:
        block: bytes fetched at once, see `Shelf.expect`.
    """

    part: Part
    block: int

    def source(self, rows: Rows, form: Form, workers: int) -> PackedFiles:
        """The images of some rows."""
        labels = torch.from_numpy(self.labels[rows])
        return PackedFiles(self.part, rows, labels, self.block, form, workers)


class PackedFiles(Files):
    """Images decoded out of shards when they are asked for.

    Args:
        part: shards and the positions of the images in them.
        rows: (N,) rows to read.
        labels: (N,) int64.
        block: bytes fetched at once, see `Shelf.expect`; 1 for each image by itself.
        form, workers: arguments of `Files`.
    """

    def __init__(
        self, part: Part, rows: Rows, labels: Tensor, block: int, form: Form, workers: int
    ) -> None:
        self.entries, self.shelf, self.block = part.entries[rows], Shelf(part.shards), block
        index = torch.from_numpy(self.entries["index"].astype(np.int64))
        super().__init__(FileNames.of([]), labels, index, form, workers)

    def __len__(self) -> int:
        return len(self.entries)

    def name(self, row: int) -> str:
        """Name of the image in a message: its shard and number."""
        entry = self.entries[row]
        return f"{self.shelf.shards[entry['shard']]}, image {member(entry['index'])}"

    def open(self, row: int) -> BytesIO:
        """The image's bytes."""
        return BytesIO(self.shelf.read(self.entries[row]))

    def fill(self, wanted: Wanted, batch: list[Tensor]) -> Filled:
        """Write a batch, see `Files`; all of it is requested before the first image is decoded."""
        self.shelf.expect(self.entries[wanted.rows], self.block)
        return super().fill(wanted, batch)


class ShardLoader(TrainLoader):
    """Training batches in the order of `shard_order` instead of any order.

    Args:
        source: images in shards.
        rows: rows to read, (N,) int64.
        window: images among which the next is drawn, see `shard_order`.
        **arguments: arguments of `TrainLoader`.
    """

    def __init__(
        self, source: PackedFiles, rows: Tensor, batch_size: int, *, window: int, **arguments: Any
    ) -> None:
        super().__init__(source, rows, batch_size, **arguments)
        self.window, entries = window, source.entries[rows.numpy()]
        stored = np.lexsort((entries["offset"], entries["shard"]))
        self.stored = torch.from_numpy(stored)  # positions as they lie on disk
        self.shard = torch.from_numpy(entries["shard"][stored].astype(np.int64))

    def order(self, epoch: int) -> Tensor:
        """Positions among ``rows`` in the order of an epoch."""
        return self.stored[shard_order(self.shard, self.window, self.seed + epoch)]

    def _shape(self) -> dict[str, Any]:
        return super()._shape() | {"sampling": f"shards, window {self.window}"}


def shard_order(shard: Tensor, window: int, seed: int, streams: int = STREAMS) -> Tensor:
    """An order of images that reads shards from end to end, and yet is shuffled.

    The shards, shuffled, are one long row, which begins anywhere. It is cut into equal streams,
    read side by side: the next image is the next stream's. Within a stream an image comes at
    most ``window / streams`` places earlier or later than it lies. So a global batch is drawn from
    all over the set, and a rank reads streams of its own wherever ``streams`` is a multiple of the
    ranks (with more ranks, two or more share one).

    Args:
        shard: (N,) shard of each image, ascending, as on disk.
        window: images among which the next one is drawn, over all streams; 1: no shuffling
            within shards.
        seed: seed of the shards' order, its beginning, and the draws.
        streams: number of streams.

    Returns:
        (N,) a permutation of 0 ... N - 1. The last N mod streams images come last.
    """
    generator = torch.Generator().manual_seed(seed)
    rank = torch.randperm(int(shard[-1]) + 1, generator=generator)
    row = rank[shard].argsort(stable=True)
    row = row.roll(int(torch.randint(len(row), (1,), generator=generator)))
    length = len(row) // streams
    drawn = torch.rand(streams, length, generator=generator).mul_(max(window - 1, 0) / streams)
    places = drawn.double().add_(torch.arange(length)).argsort(dim=1, stable=True)
    body = row[: streams * length].view(streams, length).gather(1, places)
    return torch.cat([body.T.reshape(-1), row[streams * length :]])


def packed(root: Path, unlabeled: bool, block: int = 1) -> tuple[list[str], dict[str, Packed]]:
    """Classes and parts of a folder of shards, as `folder_scan.scan` gives them for images.

    Raises:
        MissingDataError, BrokenDataError: see `index.read_index`.
    """
    content, parts = read_index(root)
    found = {}
    for name, part in parts.items():
        labels = part.entries["label"].astype(np.int64)
        if unlabeled:
            labels[:] = -1
        if not len(labels) or labels.max() >= len(content["classes"]):
            raise BrokenDataError(f"{root}: a label of {name} is not one of its classes")
        found[name] = Packed(FileNames.of([]), labels, part, block)
    return [] if unlabeled else content["classes"], found
