"""Batches of a data module as they come out of its loader, without the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from genlab.data.encoded_images import EncodedImages
from genlab.data.images import Images

Batch = dict[str, Any]
SEED = 5  # of every batch: nothing is drawn from it that has a value


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


def _part(data: Any, images: int, name: str) -> Batch:
    """Images or, where files are cut at random, crops; with label and position."""
    channels, side = data.channels, data.image_size
    rest = {"label": torch.zeros(images, dtype=torch.int64), "index": torch.arange(images)}
    cuts = data._cuts().get(name) if isinstance(data, EncodedImages) else None  # noqa: SLF001
    if cuts and data.in_memory is not True:
        shapes = [(images, channels, cut.size, cut.size) for cut in cuts]
        return {"crops": [torch.empty(s, dtype=torch.uint8) for s in shapes]} | rest
    if getattr(data, "kind", None) is not None:  # points of the plane
        return {"image": torch.empty(images, 2, 1, 1)} | rest
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
