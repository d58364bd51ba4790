"""Random masks over a grid of patches: single patches, units, blocks.

Each kind is a frozen set of numbers that `draws.for_this_rank` calls: (shape of the global batch,
generator) -> one row an image. No value is read by Python, and every tensor has a size that the
numbers alone decide, or the batch's seed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.augment.boxes import inside
from genlab.augment.draws import Params, Shape, constant, uniform, whole

STREAM = 48  # of the batch's seed
TRIES = 12  # blocks that are tried for an image, after which single patches fill it up

Grid = tuple[int, int]  # rows and columns of patches


@dataclass(frozen=True)
class RandomMasks:
    """Patches chosen one by one: ``keep`` (n, K) indices in rising order, ``masked`` (n, h w) bool.

    Args:
        grid: rows and columns of patches.
        ratio: share of patches to mask; at least one is kept and one is masked.

    Raises:
        ValueError: a share outside ]0, 1[, or a single patch.

    Source: He et al. 2022, arXiv:2111.06377; K is the whole part of the kept share.
    """

    grid: Grid
    ratio: float = 0.75

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise ValueError(f"mask_ratio {self.ratio} must be above 0 and below 1")
        if math.prod(self.grid) < 2:
            raise ValueError("masks require at least two patches: take a smaller patch_size")

    @property
    def kept(self) -> int:
        """Number K of patches that stay."""
        count = math.prod(self.grid)
        return min(count - 1, max(1, int(round(count * (1 - self.ratio), 6))))

    def __call__(self, shape: Shape, generator: torch.Generator) -> Params:
        """Draw for n images (n, C, H, W)."""
        order = uniform((shape[0], math.prod(self.grid)), 0, 1, generator).argsort(1)
        keep = order[:, : self.kept].sort(1).values
        masked = torch.ones_like(order, dtype=torch.bool).scatter(1, keep, value=False)
        return {"keep": keep, "masked": masked}


@dataclass(frozen=True)
class UnitMasks:
    """Squares of several patches, each masked as one: ``masked`` (n, h w) bool.

    Args:
        grid: rows and columns of patches.
        unit: side of a square in patches; squares at the far borders are cut off where it does not
            divide the grid.
        ratio: share of squares to mask, rounded up.

    Raises:
        ValueError: a share outside ]0, 1[, a side below 1, or less than two squares.

    Source: Xie et al. 2022, arXiv:2111.09886.
    """

    grid: Grid
    unit: int = 2
    ratio: float = 0.6

    def __post_init__(self) -> None:
        if not 0 < self.ratio < 1:
            raise ValueError(f"mask_ratio {self.ratio} must be above 0 and below 1")
        if self.unit < 1 or max(self.grid) <= self.unit:
            raise ValueError(
                f"unit_size {self.unit} must be at least 1 and below the {self.grid[0]} x "
                f"{self.grid[1]} patches of an image"
            )

    def __call__(self, shape: Shape, generator: torch.Generator) -> Params:
        """Draw for n images (n, C, H, W)."""
        rows, columns = (math.ceil(side / self.unit) for side in self.grid)
        count = min(rows * columns - 1, math.ceil(round(rows * columns * self.ratio, 6)))
        place = uniform((shape[0], rows * columns), 0, 1, generator).argsort(1).argsort(1)
        units = (place < count).unflatten(1, (rows, columns))
        patches = units.repeat_interleave(self.unit, 1).repeat_interleave(self.unit, 2)
        return {"masked": patches[:, : self.grid[0], : self.grid[1]].flatten(1)}


@dataclass(frozen=True)
class BlockMasks:
    """Rectangles of patches in a share of the images: ``masked`` (n, h w) bool.

    The masked images' shares of patches lie in equal steps from the lowest to the highest, one
    random share in each step. Every image has exactly the number of patches that was drawn for it:
    where no further rectangle fits, patches next to masked ones fill it up.

    Args:
        grid: rows and columns of patches.
        chance: share of the images that have a mask.
        ratio: lowest and highest share of patches in a masked image.
        aspect: smallest height over width of a rectangle; the largest is its inverse.
        least: patches of a rectangle at least, where that many are left.

    Raises:
        ValueError: a number out of range.

    Sources: Bao et al. 2022, arXiv:2106.08254 (blocks); Oquab et al. 2023, arXiv:2304.07193
    (shares in steps). Departures: the reference tries ten places for each of as many rectangles as
    it takes, and leaves an image with too few patches where they fail; here rectangles are drawn
    for all images together.
    """

    grid: Grid
    chance: float = 0.5
    ratio: tuple[float, float] = (0.1, 0.5)
    aspect: float = 0.3
    least: int = 4

    def __post_init__(self) -> None:
        low, high = self.ratio
        if not (0 <= self.chance <= 1 and 0 < low <= high < 1):
            raise ValueError(
                f"mask_ratio {list(self.ratio)} must rise inside 0 ... 1, and mask_chance "
                f"{self.chance} be in 0 ... 1"
            )
        if not (0 < self.aspect <= 1 and self.least >= 1):
            raise ValueError(f"aspect {self.aspect} must be in ]0, 1], least {self.least} above 0")

    def __call__(self, shape: Shape, generator: torch.Generator) -> Params:
        """Draw for n images (n, C, H, W)."""
        count = self._counts(shape[0], generator)
        masked = torch.zeros(shape[0], *self.grid, dtype=torch.bool, device=generator.device)
        for _ in range(TRIES):
            left = count - masked.sum((1, 2))
            block = self._block(left, generator)
            fits = (block & ~masked).sum((1, 2)) <= left
            fits &= (left >= self.least) | (left == count)
            masked = masked | (block & fits[:, None, None])
        return {"masked": _filled_up(masked, count, generator).flatten(1)}

    def most(self, own: int, n: int) -> int:
        """Masked patches in ``own`` of n images at most, whatever is drawn.

        A tensor of that size holds all of them, and no value has to be read to make it.
        """
        some, patches = int(n * self.chance + 0.5), math.prod(self.grid)
        low, high = self.ratio
        ends = (low + (high - low) * (k + 1) / some for k in range(some))
        counts = sorted((max(1, min(patches, math.ceil(e * patches))) for e in ends), reverse=True)
        return sum(counts[:own]) * math.ceil(own / n)

    def _counts(self, n: int, generator: torch.Generator) -> Tensor:
        """Patches to mask in each image: (n,) int64."""
        some = int(n * self.chance + 0.5)
        low, high = self.ratio
        step = torch.arange(some, device=generator.device) + uniform(some, 0, 1, generator)
        share = low + (high - low) * step / max(1, some)
        counts = F.pad((share * math.prod(self.grid)).long().clamp(min=1), (0, n - some))
        return counts[uniform(n, 0, 1, generator).argsort()]

    def _block(self, left: Tensor, generator: torch.Generator) -> Tensor:
        """A rectangle for each image, of at most about ``left`` patches: (n, h, w) bool."""
        n, most = len(left), -math.log(self.aspect)
        least = left.clamp(max=self.least)
        area = least + uniform(n, 0, 1, generator) * (left - least)
        ratio = uniform(n, -most, most, generator).exp()
        sides = [(area * ratio).sqrt(), (area / ratio).sqrt()]
        tall, wide = (
            side.round().long().clamp(1, limit)
            for side, limit in zip(sides, self.grid, strict=True)
        )
        top, start = whole(self.grid[0] - tall, generator), whole(self.grid[1] - wide, generator)
        return inside(torch.stack([top, start, tall, wide], 1), *self.grid)[:, 0]


def _filled_up(masked: Tensor, count: Tensor, generator: torch.Generator) -> Tensor:
    """Exactly ``count`` patches in each image: those with most masked neighbours come first."""
    around = constant(((0, 1, 0), (1, 0, 1), (0, 1, 0)), masked.device, torch.float32)
    beside = F.conv2d(masked[:, None].float(), around[None, None], padding=1)[:, 0]
    score = beside + uniform(tuple(masked.shape), 0, 1, generator)
    place = score.masked_fill(masked, -1).flatten(1).argsort(1, descending=True).argsort(1)
    left = count - masked.sum((1, 2))
    return masked | (place < left[:, None]).view_as(masked)
