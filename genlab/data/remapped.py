"""Images whose grey levels are exchanged: negatives, and levels shuffled wholly or nearby."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genlab.data.digits import Digits
from genlab.data.in_memory import Pictures
from genlab.data.loader import Source
from genlab.data.torchvision_sets import MNIST

LEVELS = 256


class RemappedDigits(Digits):
    """`Digits` with exchanged grey levels, the same ones in all images.

    Args:
        negative: True for dark foregrounds: level 255 - v in place of v.
        window: number of neighbouring levels that are shuffled among themselves: 1 keeps their
            order, 16 keeps it from afar, 256 none of it. It divides 256.
        levels_seed: seed of that permutation.
        **kwargs: arguments of `Digits`.

    Raises:
        ValueError: a window that does not divide 256.
    """

    def __init__(
        self, negative: bool = False, window: int = 1, levels_seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.table = level_table(negative, window, levels_seed)

    def sources(self) -> dict[str, Source]:
        """All images, remapped."""
        return remapped(super().sources(), self.table)


class RemappedMNIST(MNIST):
    """`MNIST` with exchanged grey levels, the same ones in all images.

    Args:
        negative: True for dark foregrounds: level 255 - v in place of v.
        window: number of neighbouring levels that are shuffled among themselves: 1 keeps their
            order, 16 keeps it from afar, 256 none of it. It divides 256.
        levels_seed: seed of that permutation.
        **kwargs: arguments of `MNIST`.

    Raises:
        ValueError: a window that does not divide 256.
    """

    def __init__(
        self, negative: bool = False, window: int = 1, levels_seed: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.table = level_table(negative, window, levels_seed)

    def sources(self) -> dict[str, Source]:
        """All images, remapped."""
        return remapped(super().sources(), self.table)


def level_table(negative: bool, window: int, seed: int = 0) -> Tensor:
    """The new level of each old one, (256,) uint8: a permutation.

    Args:
        negative: True to reverse the levels before they are shuffled.
        window: number of neighbouring levels that are shuffled among themselves.
        seed: seed of the permutation.

    Raises:
        ValueError: a window that does not divide 256.
    """
    if window < 1 or LEVELS % window:
        raise ValueError(f"window {window} does not divide {LEVELS}")
    generator = torch.Generator().manual_seed(seed)
    order = torch.rand(LEVELS // window, window, generator=generator).argsort(1)
    table = (order + torch.arange(0, LEVELS, window).unsqueeze(1)).flatten().to(torch.uint8)
    return table.flip(0) if negative else table


def remapped(sources: Mapping[str, Source], table: Tensor) -> dict[str, Source]:
    """Images in memory with the levels of a table."""
    found: dict[str, Source] = {}
    for name, source in sources.items():
        assert isinstance(source, Pictures)
        images = table[source.images.int()]
        found[name] = Pictures(images, source.labels, source.index)
    return found
