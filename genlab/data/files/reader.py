"""Image files read batch by batch, by worker processes; or all at once into memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import IO, TypeVar

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.files import on_gpu
from genlab.data.files.centre import centre
from genlab.data.files.cuts import Cut, Numbers, cut_out, numbers
from genlab.data.files.decoding import Form
from genlab.data.files.encoded import Encoded
from genlab.data.files.file_names import FileNames
from genlab.data.files.on_gpu import Undecoded
from genlab.data.files.workers import Filled, Shape, Wanted, make
from genlab.data.in_memory import Pictures
from genlab.data.loader import Batch, Draws
from genlab.data.on_device import moved
from genlab.internals import messages

Seen = TypeVar("Seen")
Look = Callable[[Path | IO[bytes]], Seen]
STREAMS = ("image", "labeled", "unlabeled")  # parts of a batch, which draw independently
STREAM = 64  # cuts that a part may have
GIVE_UP = 500  # images in a row that cannot be read
Crops = Iterator[Tensor]  # (C, size, size) each


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Files:
    """Images decoded on request.

    In training a broken one is replaced by the next readable one. Evaluation leaves it out; but a
    batch of nothing else holds one replacement, because all ranks need as many batches.

    Args:
        paths: N files.
        labels: (N,) int64.
        index: (N,) int64, position among all files of the folder.
        form: size, channels and bits of the decoded images.
        workers: processes that decode; 0 for none.
    """

    def __init__(
        self,
        paths: FileNames,
        labels: Tensor,
        index: Tensor,
        form: Form,
        workers: int,
    ) -> None:
        self.paths, self.labels, self.index = paths, labels, index
        self.form, self.workers = form, workers
        self.dtype = torch.uint16 if form.bits == 16 else torch.uint8
        self.cuts: dict[str, list[Cut]] = {}  # of training images, by part of the batch
        self.gpu: torch.device | None = None  # that decodes training images
        self.broken: set[int] = set()
        self.odd: set[int] = set()
        self.refused: set[int] = set()

    def __len__(self) -> int:
        return len(self.paths)

    def decode(self, row: int) -> Tensor | str:
        """(C, size, size) uint8 or uint16, or the reason why the file cannot be read."""
        found = self._try(row, self._whole)
        return found if isinstance(found, str) else next(found)

    def _whole(self, picture: Path | IO[bytes]) -> Crops:
        """The image as evaluation sees it."""
        return iter([torch.from_numpy(centre(picture, self.form).copy())])

    def _try(self, row: int, look: Look[Seen]) -> Seen | str:
        """What ``look`` makes of an image, or the reason why it cannot be read."""
        picture = self.open(row)
        try:
            return look(picture)
        except Exception as error:  # damaged files make PIL raise nearly anything
            return f"{self.name(row)}: {messages.without_stream(error)}"

    def open(self, row: int) -> Path | IO[bytes]:
        """The file that the image is decoded from."""
        return self.paths[row]

    def changed(self, row: int) -> str:
        """A file's size where it is not the listed one; empty if it is, or is unknown."""
        listed = self.paths.size(row) if self.paths else -1
        try:
            now = self.paths[row].stat().st_size if listed >= 0 else listed
        except OSError:
            return ""
        return "" if now == listed else f"{self.name(row)}: {listed:,} bytes, now {now:,}"

    def name(self, row: int) -> str:
        """Name of the image in a message."""
        return str(self.paths[row])

    def shapes(self, wanted: Wanted) -> list[Shape]:
        """Shape of an image, or a crop, in each tensor of a batch: (C, H, W)."""
        sizes = [cut.size for cut in self._cuts(wanted)] or [self.form.size]
        return [(self.form.channels, size, size) for size in sizes]

    def fill(self, wanted: Wanted, batch: list[Tensor]) -> Filled:
        """Write a batch: images, or their random parts."""
        if wanted.seed is None:
            return self._fill_readable(wanted.rows, batch[0])
        broken: dict[int, str] = {}
        later: dict[int, Undecoded] = {}
        used = []
        for place, (row, look) in enumerate(self._looks(wanted)):
            parts, row = self._readable(row, look, broken)
            used.append(row)
            if isinstance(parts, Undecoded):
                later[place] = parts
                continue
            for images, part in zip(batch, parts, strict=True):
                images[place] = part
        return Filled(used, broken, self._odd(wanted.rows), later)

    def _fill_readable(self, rows: list[int], images: Tensor) -> Filled:
        """Write a batch for evaluation."""
        broken: dict[int, str] = {}
        used: list[int] = []
        for row in rows:
            image = self.decode(row)
            if isinstance(image, str):
                broken[row] = image
                continue
            images[len(used)] = image
            used.append(row)
        if not used:
            parts, row = self._readable(rows[0], self._whole, broken)
            images[0], used = next(parts), [row]
        return Filled(used, broken, self._odd(rows))

    def _odd(self, rows: list[int]) -> dict[int, str]:
        return {row: why for row in rows if (why := self.changed(row))}

    def _cuts(self, wanted: Wanted) -> list[Cut]:
        return [] if wanted.seed is None else self.cuts.get(wanted.part, [])

    def _looks(self, wanted: Wanted) -> Iterator[tuple[int, Look[Crops | Undecoded]]]:
        """For each row, what is to be made of its image."""
        cuts = self._cuts(wanted)
        if wanted.seed is None or not cuts:
            yield from ((row, self._whole) for row in wanted.rows)
            return
        places = np.arange(len(wanted.rows)) * wanted.world + wanted.rank
        first = STREAMS.index(wanted.part) * STREAM
        look = self._crops if self.gpu is None else self._left_to_gpu
        drawn = [numbers(wanted.seed, places, first + k) for k in range(len(cuts))]
        for row, numbers_ in zip(wanted.rows, np.stack(drawn, 1), strict=True):
            yield row, partial(look, cuts=cuts, drawn=numbers_)

    def _crops(self, picture: Path | IO[bytes], cuts: list[Cut], drawn: Numbers) -> Crops:
        """Random parts of the image."""
        return cut_out(Encoded(picture, self.form.channels, self.form.bits), cuts, drawn)

    def _left_to_gpu(
        self, picture: Path | IO[bytes], cuts: list[Cut], drawn: Numbers
    ) -> Crops | Undecoded:
        """The image undecoded, or its random parts where the GPU is not to decode it."""
        encoded = Encoded(picture, self.form.channels)
        return on_gpu.undecoded(encoded, cuts, drawn) or cut_out(encoded, cuts, drawn)

    def _readable(self, row: int, look: Look[Seen], broken: dict[int, str]) -> tuple[Seen, int]:
        most = min(GIVE_UP, len(self))
        for candidate in ((row + step) % len(self) for step in range(most)):
            found = self._try(candidate, look)
            if not isinstance(found, str):
                return found, candidate
            broken[candidate] = found
        some = f"{most} images" if most == len(self) else f"{most} images in a row"
        raise BrokenDataError(f"none of {some} can be read; first: {broken[row]}")

    def read(self, batches: Iterable[Tensor]) -> Iterator[Batch]:
        """For each tensor of rows, the batch ``image label index``."""
        return self._read((Wanted(rows.tolist()) for rows in batches), [], "left out")

    def read_cut(self, batches: Iterable[Tensor], draws: Draws) -> Iterator[Batch]:
        """Training batches: ``crops label index``, or as `read` where no random part is wanted."""
        place = draws.rank, draws.world, draws.part
        pairs = zip(batches, draws.seeds, strict=False)  # the seeds never end
        wanted = (Wanted(rows.tolist(), seed, *place) for rows, seed in pairs)
        cuts = self.cuts.get(draws.part, [])
        return self._read(wanted, cuts, "replaced by the next ones")

    def _read(self, wanted: Iterable[Wanted], cuts: list[Cut], fate: str) -> Iterator[Batch]:
        try:
            for parts, filled in make(self, wanted, self.workers):
                if self.gpu is not None and cuts:
                    parts = self._on_gpu(self.gpu, parts, filled, cuts)
                self._report(filled, fate)
                rows = torch.tensor(filled.rows)
                images = {"crops": parts} if cuts else {"image": parts[0]}
                del parts
                yield images | {"label": self.labels[rows], "index": self.index[rows]}
                del images
        except (BrokenDataError, MissingDataError) as error:  # of a worker: after its traceback
            raise type(error)(str(error).strip().rpartition("DataError: ")[2]) from None

    def _on_gpu(
        self, gpu: torch.device, parts: list[Tensor], filled: Filled, cuts: list[Cut]
    ) -> list[Tensor]:
        """A batch on the GPU, with the crops that the workers left to it."""
        there: list[Tensor] = moved(parts, gpu)
        refused = {}
        made = on_gpu.crops([*filled.later.values()], cuts, gpu)
        for (place, image), found in zip(filled.later.items(), made, strict=True):
            crops = iter(found or [])
            if found is None:
                row = filled.rows[place]
                refused[row] = self.name(row)
                look = partial(self._crops, cuts=cuts, drawn=image.drawn)
                crops, filled.rows[place] = self._readable(row, look, filled.broken)
            for images, crop in zip(there, crops, strict=True):
                images[place] = crop
        _tell(self.refused, refused, "are decoded by the CPU, for the GPU's decoder refuses them")
        return there

    def _report(self, filled: Filled, fate: str) -> None:
        _tell(self.broken, filled.broken, f"cannot be read and are {fate}")
        _tell(self.odd, filled.odd, "have changed since they were listed (data.rescan=true)")

    def in_memory(self) -> tuple[Pictures, list[str]]:
        """All readable images, decoded by threads, and reasons for those left out."""
        channels, size = self.form.channels, self.form.size
        images = torch.empty(len(self), channels, size, size, dtype=self.dtype)
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


def _tell(known: set[int], found: dict[int, str], what: str) -> None:
    """Warn of rows not known yet: of the 1st, 2nd, 4th, 8th ... and of several at once."""
    new = found.keys() - known
    known |= new
    count = len(known)
    if new and (count & (count - 1) == 0 or len(new) > 1):
        rank_zero_warn(f"{count} images so far {what}; the newest: {found[max(new)]}", stacklevel=2)
