"""Batches of whole indices: shuffled and resumable for training, in order for evaluation.

A `DataLoader` that collates samples one by one is about forty times slower on small images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from genlab.data.sampling import check_sampling, epoch_order
from genlab.internals import lightning_parts

Batch = dict[str, Any]
MASK = 2**64 - 1


@dataclass(frozen=True)
class Draws:
    """Seeds of the random parts of training images, see `files.cuts`.

    Args:
        seeds: one batch seed a batch, equal on all ranks.
        rank, world: the batch's images are every ``world``-th of the global one, from ``rank``.
        part: ``image``, or ``labeled`` or ``unlabeled`` of two streams.
    """

    seeds: Iterable[int]
    rank: int = 0
    world: int = 1
    part: str = "image"


class Source(Protocol):
    """Images that can be read by their row numbers."""

    labels: Tensor  # (N,) int64, -1 where unknown
    index: Tensor  # (N,) int64, position in the data set that the images come from

    def __len__(self) -> int: ...

    def read(self, batches: Iterable[Tensor]) -> Iterator[Batch]:
        """For each tensor of rows, the batch ``image label index``.

        The rows are the batch's to keep: a whole set gives them as its ``index``.
        """
        ...


@runtime_checkable
class CutsOut(Protocol):
    """Sources that cut random parts out of larger images in training."""

    def read_cut(self, batches: Iterable[Any], draws: Draws) -> Iterator[Batch]:
        """As `Source.read`, with ``crops``, a list, in place of ``image``."""
        ...


def read(source: Any, batches: Iterable[Any], draws: Draws) -> Iterator[Batch]:
    """Training batches of a source, with random parts if it cuts them itself."""
    return source.read_cut(batches, draws) if isinstance(source, CutsOut) else source.read(batches)


def default_seed() -> int:
    """Seed of ``seed_everything``, else 0."""
    return lightning_parts.global_seed()


def batch_seed(seed: int, epoch: int, batch: int) -> int:
    """A number in [0, 2^63) for this batch of this epoch, the same on every rank.

    The splitmix64 finaliser (Steele, Lea, Flood 2014) over the three numbers, one after the other.
    """
    x = 0
    for word in (seed, epoch, batch):
        x = ((x ^ word) + 0x9E3779B97F4A7C15) & MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
        x ^= x >> 31
    return x >> 1


class Resumable:
    """An epoch's batches, resumable at any of them.

    A subclass defines their number (``__len__``), the batches (`batches`), and in `_shape` the
    settings that must be equal for a pass to resume in its middle.

    Args:
        source: the images.
        seed: seed of the order; None for that of ``seed_everything``.
        rank, world: this process among those that train together.
    """

    def __init__(self, source: Any, seed: int | None, rank: int, world: int) -> None:
        self.source, self.rank, self.world = source, rank, world
        self.seed = default_seed() if seed is None else seed
        self.sampler = self  # where Lightning looks for set_epoch
        self._epoch = 0  # what the trainer says
        self._at = (0, 0)  # (epoch, batches handed out) of the pass under way, or just loaded
        self._loaded = False

    def __len__(self) -> int:
        raise TypeError(
            f"{type(self).__name__} must define __len__, the number of batches of an epoch"
        )

    def batches(self, epoch: int) -> Sequence[Any]:
        """This rank's rows of every batch of an epoch, as the source reads them."""
        raise TypeError(f"{type(self).__name__} must define batches, the rows of each batch")

    def _shape(self) -> dict[str, Any]:
        raise TypeError(f"{type(self).__name__} must define _shape, the settings of a pass")

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch that gives the order of the next pass."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        # A generator: nothing below runs before the first batch is asked for, because Lightning
        # calls iter() before set_epoch. Nothing may follow the last yield: it is never reached.
        epoch, start = self._epoch, 0
        if self._loaded and self._at[0] == epoch and self._at[1] < len(self):
            start = self._at[1]
        self._at, self._loaded = (epoch, start), False
        rest = self.batches(epoch)[start:]
        seeds = (batch_seed(self.seed, epoch, position) for position in count(start))
        draws = Draws(seeds, self.rank, self.world)
        for position, batch in enumerate(read(self.source, rest, draws), start):
            self._at = (epoch, position + 1)
            batch["seed"] = batch_seed(self.seed, epoch, position)
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Position of the pass, the same on every rank."""
        epoch, position = self._at
        return {"epoch": epoch, "position": position, "batches": len(self), **self._shape()}

    def check_state(self, state: dict[str, Any]) -> None:
        """True if this loader can go on from ``state``.

        Raises:
            ValueError: in mid-epoch with another world size, batch, number of images, seed or
                sampling.
        """
        batches = state.get("batches", state["size"] // state["batch_size"])
        if 0 < state["position"] < batches:
            for key, now in self._shape().items():
                then = state.get(key, "uniform")  # older ones do not say the sampling
                if then != now:
                    raise ValueError(
                        f"the checkpoint stopped in mid-epoch with {key.replace('_', ' ')} "
                        f"{then}, now it is {now}; continue with {then}, "
                        "or from a checkpoint written at the end of an epoch"
                    )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume at ``state`` if the trainer is in its epoch, else start the trainer's epoch.

        Raises:
            ValueError: see `check_state`.
        """
        self.check_state(state)
        self._at, self._loaded = (state["epoch"], state["position"]), True


class TrainLoader(Resumable):
    """Shuffled batches without the last incomplete one, resumable at any batch.

    The order of an epoch is ``randperm(N, seed + epoch)[rank::world]``, that of torch's
    `DistributedSampler`. The global batch k is therefore the same set of images for every number
    of processes. Batches carry ``seed``, see `batch_seed`.
    ``sampling: balanced`` draws an epoch of the same length with equal chances for the classes.

    Args:
        source: the images.
        rows: rows to read, (N,) int64.
        batch_size: images a step over all ranks.
        seed: seed of the order; None for that of ``seed_everything``.
        rank, world: this process among those that train together.
        sampling: ``uniform`` or ``balanced``, see `sampling.epoch_order`.

    Raises:
        ValueError: no complete batch, a batch that the ranks cannot share equally, or balanced
            sampling of images without labels.
    """

    def __init__(
        self,
        source: Source,
        rows: Tensor,
        batch_size: int,
        *,
        seed: int | None = None,
        rank: int = 0,
        world: int = 1,
        sampling: str = "uniform",
    ) -> None:
        check_sampling(sampling)
        if batch_size % world:
            raise ValueError(f"batch_size {batch_size} is not divisible by {world} processes")
        if not 0 < batch_size <= len(rows):
            raise ValueError(
                f"batch_size {batch_size} must be at least 1 and at most {len(rows)}, "
                "the number of training images"
            )
        self.labels = source.labels[rows]
        if sampling == "balanced" and not (self.labels >= 0).any():
            raise ValueError("sampling 'balanced' requires labels, and no training image has one")
        super().__init__(source, seed, rank, world)
        self.rows, self.batch_size, self.sampling = rows, batch_size, sampling

    def __len__(self) -> int:
        return len(self.rows) // self.batch_size

    def batches(self, epoch: int) -> tuple[Tensor, ...]:
        """This rank's rows of every batch of an epoch."""
        order = self.order(epoch)[: len(self) * self.batch_size][self.rank :: self.world]
        return self.rows.index_select(0, order).split(self.batch_size // self.world)

    def order(self, epoch: int) -> Tensor:
        """Positions among ``rows`` in the order of an epoch, whatever rank this is."""
        return epoch_order(self.sampling, self.labels, self.seed + epoch)

    def _shape(self) -> dict[str, Any]:
        return {
            "world": self.world,
            "batch_size": self.batch_size,
            "size": len(self.rows),
            "seed": self.seed,
            "sampling": self.sampling,
        }


class EvalLoader:
    """Every image once, in order, as equally long batches: no padding, none dropped.

    Every rank gets the same number of batches; ranks take turns image by image.

    Args:
        source: the images.
        rows: rows to read, (N,) int64.
        batch_size: largest batch over all ranks.
        rank, world: this process among those that evaluate together.

    Raises:
        ValueError: fewer images than processes.
    """

    def __init__(
        self, source: Source, rows: Tensor, batch_size: int, *, rank: int = 0, world: int = 1
    ) -> None:
        if len(rows) < world:
            raise ValueError(f"{len(rows)} images cannot be divided among {world} processes")
        self.source = source
        count = min(-(-len(rows) // max(batch_size, world)), len(rows) // world)
        shard = rows[rank::world].numpy()
        self._batches = [torch.from_numpy(piece) for piece in np.array_split(shard, count)]

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[Batch]:
        return self.source.read(rows.clone() for rows in self._batches)  # the reader's own


def every_image(parts: Mapping[str, Source], batch_size: int) -> Iterator[tuple[str, EvalLoader]]:
    """All images of all splits, each once, in order: a name and a loader a source.

    ``limit`` and few labels leave none out. The name is the first split that is of the source.
    """
    seen: list[Source] = []
    for name, source in parts.items():
        if len(source) and not any(source is other for other in seen):
            seen.append(source)
            yield name, EvalLoader(source, torch.arange(len(source)), batch_size)
