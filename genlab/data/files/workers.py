"""Batches made by worker processes, handed over in shared memory without a copy."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from genlab.internals import torch_parts

AHEAD = 2  # batches that each worker is asked for in advance
HELD = 3  # batches that the reader may keep at a time without new memory
SHARE = 0.5  # of the shared memory that is free
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Wanted:
    """A batch that is asked for: rows, and where their random parts come from; see `Draws`."""

    rows: list[int]
    seed: int | None = None
    rank: int = 0
    world: int = 1
    part: str = "image"


@dataclass(frozen=True)
class Filled:
    """Record of a batch.

    Args:
        rows: the rows that were read. Where one tensor is filled, they may be fewer than wanted:
            its first ones.
        broken: reasons why others were not, by row.
        odd: remarks by row.
        later: images that are still to be decoded, by place in the batch.
    """

    rows: list[int]
    broken: dict[int, str]
    odd: dict[int, str] = field(default_factory=dict)
    later: dict[int, Any] = field(default_factory=dict)


class Maker(Protocol):
    """Maker of batches of images, of type ``dtype``."""

    dtype: torch.dtype

    def shapes(self, wanted: Wanted) -> list[Shape]:
        """Shape of an image in each tensor of the batch: (C, H, W)."""
        ...

    def fill(self, wanted: Wanted, batch: list[Tensor]) -> Filled:
        """Write the images, one a row of (B, *shape) tensors."""
        ...


class Slots:
    """Pieces of shared memory for a batch each, used again when nothing refers to them any more.

    Args:
        count: number of batches.
        size: bytes of a batch.
    """

    def __init__(self, count: int, size: int) -> None:
        self.size = size
        self.memory = torch_parts.shared(count, size)
        self.free = list(range(count))

    def take(self, size: int) -> int | None:
        """Number of a free piece; None if there is none, or it would be too small."""
        return self.free.pop() if self.free and size <= self.size else None

    def lent(self, number: int, size: int) -> Tensor:
        """The first bytes of a piece, free again once they and all their views are gone."""
        array = self.memory[number, :size].numpy()
        weakref.finalize(array, self._give_back, number).atexit = False
        return torch.from_numpy(array)

    def _give_back(self, number: int) -> None:
        self.free.append(number)  # a method: pinned memory lasts as long as its last piece

    def pin(self) -> None:
        """Let a GPU that this process uses copy out of the pieces by itself."""
        if torch.cuda.is_initialized() and torch_parts.pin(self.memory):
            weakref.finalize(self, torch_parts.unpin, self.memory.data_ptr()).atexit = False


class _Making(Dataset[Any]):
    """The work of a worker process."""

    def __init__(self, maker: Maker, memory: Tensor | None) -> None:
        self.maker, self.memory = maker, memory

    def __getitems__(self, order: tuple[int | None, Wanted]) -> Any:
        number, wanted = order
        shapes, count, dtype = self.maker.shapes(wanted), len(wanted.rows), self.maker.dtype
        size = _size(shapes, count, dtype)
        if number is None or self.memory is None:
            space = torch.empty(size, dtype=torch.uint8)
            return number, space, self.maker.fill(wanted, parts(space, shapes, count, dtype))
        space = self.memory[number, :size]
        return number, None, self.maker.fill(wanted, parts(space, shapes, count, dtype))


def make(
    maker: Maker, orders: Iterable[Wanted], workers: int
) -> Iterator[tuple[list[Tensor], Filled]]:
    """Batches in the order in which they are asked for, made by processes.

    Args:
        maker: object that fills them.
        orders: the batches, asked for as far ahead as the workers need.
        workers: number of processes; 0 for none.

    Returns:
        Tensors of each batch, (B, *shape).
    """
    orders = iter(orders)
    first = list(islice(orders, AHEAD * workers + HELD if workers else 1))
    if not first:
        return
    dtype = maker.dtype
    size = _size(maker.shapes(first[0]), len(first[0].rows), dtype)
    slots = _slots(len(first), size) if workers else None
    asked: dict[int, list[Shape]] = {}  # by place in the sequence: what the batch consists of

    def numbered() -> Iterator[tuple[int | None, Wanted]]:
        for place, wanted in enumerate(chain(first, orders)):
            asked[place] = maker.shapes(wanted)
            size = _size(asked[place], len(wanted.rows), dtype)
            yield (slots.take(size) if slots else None), wanted

    loader = DataLoader(
        _Making(maker, slots.memory if slots else None),
        batch_sampler=numbered(),  # type: ignore[arg-type]
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        collate_fn=_same,
        generator=torch.Generator(),  # else it takes numbers from the global one
    )
    made = iter(loader)
    if slots:
        slots.pin()  # the workers have started: they share the memory, not its registration
    for place, (number, space, filled) in enumerate(made):
        shapes, count = asked.pop(place), len(filled.rows)
        size = _size(shapes, count, dtype)
        space = slots.lent(number, size) if number is not None and slots else space[:size]
        yield parts(space, shapes, count, dtype), filled
        del space  # else its piece would not be free


def _slots(count: int, size: int) -> Slots | None:
    """Shared memory for batches under way; None for lack of it."""
    try:
        free = os.statvfs("/dev/shm")
        if count * size > SHARE * free.f_bavail * free.f_frsize:
            return None
    except OSError:  # another system, another place
        pass
    try:
        return Slots(count, size)
    except RuntimeError:  # another process has taken it meanwhile
        return None


def parts(
    space: Tensor, shapes: Sequence[Shape], count: int, dtype: torch.dtype = torch.uint8
) -> list[Tensor]:
    """Bytes as tensors (count, *shape), one a shape."""
    pieces = space.view(dtype).split([count * math.prod(shape) for shape in shapes])
    return [piece.view(count, *shape) for piece, shape in zip(pieces, shapes, strict=True)]


def _size(shapes: Sequence[Shape], count: int, dtype: torch.dtype) -> int:
    return dtype.itemsize * count * sum(math.prod(shape) for shape in shapes)


def _same(batch: Any) -> Any:
    return batch
