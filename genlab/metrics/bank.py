"""The features of a whole split, the same on every rank and for every number of ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genlab import distributed


class Bank(NamedTuple):
    """Features with their labels, ordered by their position in the data set."""

    features: Tensor  # (N, F)
    label: Tensor  # (N,) int64, -1 where unknown
    position: Tensor  # (N,) int64 in the data set, ascending, each once

    def labelled(self) -> Bank:
        """The rows whose label is known."""
        known = self.label >= 0
        return self if bool(known.all()) else Bank(*(part[known] for part in self))


def merge(features: Tensor, label: Tensor, index: Tensor) -> Bank:
    """One bank from the shares of all ranks; a row that was only padding is dropped by its index.

    Args:
        features: features of this rank's images, (n, F).
        label: (n,) int64.
        index: (n,) int64, position in the data set.
    """
    rows = [distributed.gather_rows(part) for part in (features, label, index)]
    order = rows[2].argsort(stable=True)
    ordered = rows[2][order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    keep = order[first]
    return Bank(*(part[keep] for part in rows))


@torch.no_grad()
def collect(encode: Callable[[Tensor], Tensor], batches: Iterable[dict[str, Any]]) -> Bank:
    """Encode this rank's batches and merge them with those of the other ranks.

    Args:
        encode: (B, C, H, W) -> (B, F); in eval mode, or the result depends on the batches.
        batches: ``image label index``, on the device of ``encode``.
    """
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for batch in batches:
        features = encode(batch["image"]).flatten(1).float()
        parts.append((features, batch["label"], batch["index"]))
    features, label, index = (torch.cat(column) for column in zip(*parts, strict=True))
    return merge(features, label.to(features.device), index.to(features.device))
