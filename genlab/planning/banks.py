"""Banks of features that a training encodes at its start, at their whole size without values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from genlab import distributed, metrics
from genlab.planning.batches import SMALL
from genlab.planning.counting import Counting

BANK = "features"
Collect = Callable[[Any, Iterable[Any]], metrics.Bank]


def small(encode: Any, _: Iterable[Any]) -> metrics.Bank:
    """Features of as many images as small sets have; nothing is encoded."""
    method = getattr(encode, "__self__", encode)
    return _bank(torch.empty(SMALL, _width(encode), device=method.device))


@torch.no_grad()
def _width(encode: Any) -> int:
    """Width of a method's features; or of what a verb of its gives, as an empty image tells."""
    method = getattr(encode, "__self__", encode)
    encoder = method.encoder
    if encode is method:
        return int(encoder.out_dim)
    shape = 1, encoder.in_chans, encoder.image_size, encoder.image_size
    return int(encode(torch.empty(shape, device=method.device)).flatten(1).shape[1])


class Whole:
    """The stand-in of `metrics.collect` in a plan: same memory, one batch encoded.

    Args:
        images: function for the number of training images; None where nobody knows it.
        count: counter of memory.
    """

    def __init__(self, images: Callable[[], int | None], count: Counting) -> None:
        self.images, self.count = images, count
        self.notes: list[str] = []

    @torch.no_grad()
    def __call__(self, encode: Any, batches: Iterable[Any]) -> metrics.Bank:
        """All ranks' features on each: parts, their row, what is gathered, and the kept rows."""
        batch = next(iter(batches))["image"]
        known = self.images()
        if known is None:
            self.notes.append(f"the bank of features is that of {SMALL:,} images: --images N")
        images, world = known or SMALL, distributed.world_size()
        before = max(0, -(-images // world) - len(batch))
        parts = [self._seen(torch.empty(before, _width(encode), device=batch.device))]
        parts.append(self._seen(encode(batch).flatten(1).float()))
        mine = self._seen(torch.cat(parts))
        rows = self._gathered(mine, world) if world > 1 else mine
        kept = _bank(rows[torch.arange(min(images, len(rows)), device=rows.device)])
        self.count.see_all(kept, BANK)
        return kept

    def _gathered(self, rows: Tensor, world: int) -> Tensor:
        """As `distributed.gather_rows`, of equal shares."""
        padded = self._seen(rows.clone())
        parts = [self._seen(torch.empty_like(padded)) for _ in range(world)]
        return self._seen(torch.cat(parts))

    def _seen(self, features: Tensor) -> Tensor:
        self.count.see(features, BANK)
        return features


def _bank(features: Tensor) -> metrics.Bank:
    rest = torch.zeros(2, len(features), dtype=torch.int64, device=features.device)
    return metrics.Bank(features, *rest)
