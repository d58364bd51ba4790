"""Batches of a data module as they come out of its loader, without the data."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from genlab.data.encoded_images import EncodedImages
from genlab.data.images import Images
from genlab.errors import InputError, RecipeError

Batch = dict[str, Any]
SEED = 5  # of every batch: nothing is drawn from it that has a value
SMALL = 50_000  # images of a set that rules keep an entry for each of
FEW = 7  # images of a real batch: no usual number of views, channels or classes
LENGTH = 10_000  # batches of an epoch: only schedules ask


def raw_batch(data: Any, images: int) -> Batch:
    """A batch of bytes, uninitialised.

    Args:
        data: data module of genlab's; nothing is read.
        images: number of images, or of labelled ones where there are both.
    """
    few = data.few
    if few is None or not few.plan.ratio:
        return _part(data, images, "image" if few is None else "labeled") | {"seed": SEED}
    many = few.plan.ratio * images
    parts = {"labeled": _part(data, images, "labeled"), "unlabeled": _part(data, many, "unlabeled")}
    return parts | {"seed": SEED}


def eval_batch(data: Any, images: int) -> Batch:
    """A batch of bytes, uninitialised, as evaluation reads it.

    Args:
        data: data module of genlab's; nothing is read.
        images: number of images.
    """
    if getattr(data, "kind", None) is not None:
        return _part(data, images, "image")
    shape = images, data.channels, data.image_size, data.image_size
    return _rest(images) | {"image": torch.empty(shape, dtype=torch.uint8)}


def eval_share(images: int | None, most: int, world: int) -> int:
    """Images of a device's batch in evaluation, see `EvalLoader`.

    Args:
        images: number of all images; None where unknown.
        most: ``data.eval_batch_size``.
        world: number of devices.
    """
    whole = -(-max(most, world) // world)
    if images is None:
        return whole
    count = max(1, min(-(-images // max(most, world)), images // world))
    return math.ceil(math.ceil(images / world) / count)


def _rest(images: int) -> Batch:
    return {"label": torch.zeros(images, dtype=torch.int64), "index": torch.arange(images)}


def _part(data: Any, images: int, name: str) -> Batch:
    """Images or, where files are cut at random, crops; with label and position."""
    channels, side = data.channels, data.image_size
    rest = _rest(images)
    cuts = data._cuts().get(name) if isinstance(data, EncodedImages) else None  # noqa: SLF001
    if cuts and data.in_memory is not True:
        shapes = [(images, channels, cut.size, cut.size) for cut in cuts]
        return {"crops": [torch.empty(s, dtype=torch.uint8) for s in shapes]} | rest
    if getattr(data, "kind", None) is not None:  # points of the plane, binary vectors
        return {"image": torch.empty(images, channels, 1, 1)} | rest
    return {"image": torch.empty(images, channels, side, side, dtype=torch.uint8)} | rest


def size(raw: Batch) -> int:
    """Number of images of a raw batch, unlabelled ones included."""
    parts = [part for part in raw.values() if isinstance(part, dict)]
    return sum(map(size, parts)) if parts else len(raw["index"])


def knows(data: Any) -> bool:
    """True if batches of the data module can be made without its data."""
    return isinstance(data, Images)


class Endless:
    """A training loader whose batches are made by a function; its length is a number only."""

    def __init__(self, make: Callable[[], Batch], length: int) -> None:
        self.make, self.length = make, length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self.length):
            yield self.make()


def own_batch(data: L.LightningDataModule) -> Any:
    """The first real batch of a data module of the user's own.

    Raises:
        RecipeError: it makes none.
    """
    name = type(data).__name__
    try:
        data.prepare_data()
        data.setup("fit")
        return next(iter(data.train_dataloader()))
    except StopIteration:
        raise RecipeError(f"{name} has no training batch") from None
    except InputError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RecipeError(f"the first batch of {name} cannot be made: {said}") from error


def few_images(data: L.LightningDataModule) -> Any:
    """A real batch as of `own_batch`, small where the data module lets: a plan resizes it.

    Args:
        data: data module with a ``batch_size``; not changed.
    """
    small: Any = copy.copy(data)
    try:
        small.batch_size = min(FEW, small.batch_size)
        return own_batch(small)
    except (AttributeError, InputError):  # a property, or too few for it
        return own_batch(data)


def resized(batch: Any, images: int) -> Any:
    """A batch of as many images, without values; what has no row for an image stays."""
    size = rows(batch)

    def change(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: change(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            inner = [change(one) for one in value]
            return type(value)(*inner) if hasattr(value, "_fields") else type(value)(inner)
        if isinstance(value, Tensor) and value.dim() and len(value) == size:
            return torch.empty(images, *value.shape[1:], dtype=value.dtype)
        return value

    return change(batch)


def rows(batch: Any) -> int:
    """Number of images of a batch: the length of its first tensor that has rows; else 0."""
    if isinstance(batch, Tensor):
        return len(batch) if batch.dim() else 0
    parts = batch.values() if isinstance(batch, dict) else batch
    found = map(rows, parts) if isinstance(batch, dict | list | tuple) else ()
    return next(filter(None, found), 0)


class Given(L.LightningDataModule):
    """A data module whose training batches are made up.

    Args:
        data: the module in question; it makes batches ready.
        images: number of images of a batch.
        like: a batch of another size, to be repeated; None for one as the loader makes it.
    """

    def __init__(self, data: L.LightningDataModule, images: int, like: Any = None) -> None:
        super().__init__()
        self.inner, self.images = data, images
        self.taken = 0  # images of a batch, unlabelled ones too
        self.first = few_images(data) if like is None and not knows(data) else like

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["inner"], name)

    @property
    def class_counts(self) -> list[int]:
        """One image of each class: only their number has a meaning here."""
        return [1] * int(getattr(self.inner, "num_classes", 1))

    @property
    def label_record(self) -> dict[str, Any] | None:
        """A note where few images are labelled."""
        return None if getattr(self.inner, "few", None) is None else {}

    @property
    def unlabeled_index(self) -> Tensor:
        """Positions of as many images as small sets have."""
        return torch.arange(SMALL)

    def splits(self) -> dict[str, np.ndarray]:
        """Positions of as many training images as small sets have."""
        return {"train": np.arange(SMALL)}

    def train_dataloader(self) -> Endless:
        """Batches without values."""
        return Endless(self.make, LENGTH)

    def bank_dataloader(self, *_: Any, **__: Any) -> Endless:
        """A batch without values, for the methods that encode all images at their start."""
        return Endless(self.make, 1)

    def val_dataloader(self) -> list[Any]:
        """None."""
        return []

    def make(self) -> Any:
        """A batch as it comes out of the loader."""
        if self.first is None:
            raw = raw_batch(self.inner, self.images)
            self.taken = size(raw)
            return raw
        self.taken = self.images
        return resized(self.first, self.images)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """The module's own."""
        return self.inner.on_after_batch_transfer(batch, dataloader_idx)
