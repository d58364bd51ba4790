"""Image files read batch by batch, by worker processes; or all at once into memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.files.decoding import decode
from genlab.data.in_memory import Pictures
from genlab.data.loader import Batch
from genlab.errors import first_line


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Files(Dataset[Any]):
    """Images decoded on request. A broken one is replaced by the next readable one.

    Args:
        paths: N files.
        labels: (N,) int64.
        index: (N,) int64, position among all files of the folder.
        size: side in pixels.
        channels: 1 or 3.
        workers: processes that decode; 0 for none.
    """

    def __init__(
        self,
        paths: list[Path],
        labels: Tensor,
        index: Tensor,
        size: int,
        channels: int,
        workers: int,
    ) -> None:
        self.paths, self.labels, self.index = paths, labels, index
        self.size, self.channels, self.workers = size, channels, workers
        self.broken: set[int] = set()

    def __len__(self) -> int:
        return len(self.paths)

    def decode(self, row: int) -> Tensor | str:
        """(C, size, size) uint8, or the reason why the file cannot be read."""
        picture = self.open(row)
        try:
            return torch.from_numpy(decode(picture, self.size, self.channels).copy())
        except Exception as error:  # damaged files make PIL raise nearly anything
            return f"{self.name(row)}: {first_line(error)}"

    def open(self, row: int) -> Path | IO[bytes]:
        """The file that the image is decoded from."""
        return self.paths[row]

    def name(self, row: int) -> str:
        """Name of the image in a message."""
        return str(self.paths[row])

    def __getitems__(self, rows: list[int]) -> tuple[Tensor, Tensor, dict[int, str]]:
        """A batch: images, their rows, and descriptions of broken files."""
        broken: dict[int, str] = {}
        images, used = [], []
        for row in rows:
            image, row = self._readable(row, broken)
            images.append(image)
            used.append(row)
        return torch.stack(images), torch.tensor(used), broken

    def _readable(self, row: int, broken: dict[int, str]) -> tuple[Tensor, int]:
        for candidate in ((row + step) % len(self) for step in range(len(self))):
            image = self.decode(candidate)
            if isinstance(image, Tensor):
                return image, candidate
            broken[candidate] = image
        raise BrokenDataError(f"none of {len(self)} images can be read; first: {self.name(0)}")

    def read(self, batches: Iterable[Tensor]) -> Iterator[Batch]:
        """For each tensor of rows, the batch ``image label index``."""
        loader = DataLoader(
            self,
            batch_sampler=map(Tensor.tolist, batches),
            num_workers=self.workers,
            collate_fn=_same,
            generator=torch.Generator(),  # else it takes numbers from the global one
        )
        try:
            for image, rows, broken in loader:
                self._report(broken)
                yield {"image": image, "label": self.labels[rows], "index": self.index[rows]}
        except (BrokenDataError, MissingDataError) as error:  # of a worker: after its traceback
            raise type(error)(str(error).strip().rpartition("DataError: ")[2]) from None

    def _report(self, broken: dict[int, str]) -> None:
        new = broken.keys() - self.broken
        self.broken |= new
        count = len(self.broken)
        if new and (count & (count - 1) == 0 or len(new) > 1):  # the 1st, 2nd, 4th, 8th ...
            rank_zero_warn(
                f"{count} images so far cannot be read and are replaced by the next ones; "
                f"the newest: {broken[max(new)]}",
                stacklevel=2,
            )

    def in_memory(self) -> tuple[Pictures, list[str]]:
        """All readable images, decoded by threads, and reasons for those left out."""
        images = torch.empty(len(self), self.channels, self.size, self.size, dtype=torch.uint8)
        kept: list[int] = []
        reasons: list[str] = []
        with ThreadPoolExecutor(max(1, cores())) as pool:
            for row, image in enumerate(pool.map(self.decode, range(len(self)))):
                if isinstance(image, Tensor):
                    images[len(kept)] = image
                    kept.append(row)
                else:
                    reasons.append(image)
        if not kept:
            raise BrokenDataError(f"none of {len(self)} images can be read; first: {reasons[0]}")
        return Pictures(images[: len(kept)], self.labels[kept], self.index[kept]), reasons


def _same(batch: Any) -> Any:
    return batch
