"""Context and targets over a grid of patches, as I-JEPA predicts one from the other."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

import torch
from torch import Tensor

from genlab.augment.boxes import inside
from genlab.augment.draws import Params, Shape, constant, uniform, whole
from genlab.augment.masks import Grid

PLACES = 8  # arrangements of an image's targets, of which the first that leaves enough is taken


@dataclass(frozen=True)
class MultiBlockMasks:
    """Some target rectangles and a context without them, of the same sizes for the whole batch.

    ``targets`` (n, M, T): indices of each target's patches; ``context`` (n, K): indices, in rising
    order. Context and targets of an image never overlap. K is the number of patches that a context
    keeps when no two targets overlap, but at least ``least``; a random choice of the image's
    context has that size.

    Args:
        grid: rows and columns of patches.
        targets: number M of targets.
        scale: smallest and largest share of the patches in a target.
        aspect: smallest and largest height over width of a target.
        context_scale: smallest and largest share of the patches in the square from which the
            targets are taken.
        least: patches of a context at least.

    Raises:
        ValueError: a number out of range, or a grid on which the largest target and ``least``
            patches of context have no room.

    Source: Assran et al. 2023, arXiv:2301.08243; facebookresearch/ijepa. Departures: every patch
    can be target and context, there the last row and column are neither; scale and aspect are
    drawn apart; what a context has too much is left out at random, not from its end; targets that
    leave too little context are placed anew, there the context may overlap them.
    """

    grid: Grid
    targets: int = 4
    scale: tuple[float, float] = (0.15, 0.2)
    aspect: tuple[float, float] = (0.75, 1.5)
    context_scale: tuple[float, float] = (0.85, 1.0)
    least: int = 10

    def __post_init__(self) -> None:
        if self.targets < 1 or self.least < 1:
            raise ValueError(f"targets {self.targets} and least {self.least} must be at least 1")
        shares = {"scale": self.scale, "context_scale": self.context_scale}
        for name, (low, high) in shares.items():
            if not 0 < low <= high <= 1:
                raise ValueError(f"{name} {[low, high]} must rise inside 0 ... 1")
        if not 0 < self.aspect[0] <= self.aspect[1]:
            raise ValueError(f"aspect {list(self.aspect)} must rise above 0")
        low, high = self.aspect
        aspects = (low, min(max(1.0, low), high), high)
        most = max(math.prod(self._box(self.scale[1], aspect)) for aspect in aspects)
        room = math.prod(self._box(self.context_scale[0], 1.0)) - most
        if room < self.least:
            raise ValueError(
                f"{self.grid[0]} x {self.grid[1]} patches leave {max(0, room)} of context next to "
                f"a target of {most}, {self.least} are required: take a smaller patch_size"
            )

    def __call__(self, shape: Shape, generator: torch.Generator) -> Params:
        """Draw for n images (n, C, H, W)."""
        target, context, kept = self.sizes(generator.initial_seed())
        n, device = shape[0], generator.device
        first = self._places((n, PLACES, self.targets), target, generator)  # (n, R, M, 2)
        first[:, -1] = first[:, -1, :1]  # the last resort: all at one place
        around = self._inside(self._places((n,), context, generator), context)  # (n, N)
        taken = self._inside(first, target).any(2)  # (n, R, N)
        free = around[:, None] & ~taken
        which = (free.sum(2) >= kept).long().argmax(1)  # the first that leaves enough
        rows = torch.arange(n, device=device)
        score = uniform((n, math.prod(self.grid)), 0, 1, generator)
        order = score.masked_fill(~free[rows, which], 2).argsort(1)
        return {
            "context": order[:, :kept].sort(1).values,
            "targets": self._indices(first[rows, which], target),
        }

    def sizes(self, seed: int) -> tuple[Grid, Grid, int]:
        """Sides of the targets and of the context's square in patches, and the context's size K.

        Args:
            seed: the batch's; all of its images have the same sizes.
        """
        draw = random.Random(seed)
        log = [math.log(a) for a in self.aspect]
        target = self._box(draw.uniform(*self.scale), math.exp(draw.uniform(*log)))
        context = self._box(draw.uniform(*self.context_scale), 1.0)
        apart = math.prod(context) - self.targets * math.prod(target)
        return target, context, max(self.least, apart)

    def _box(self, share: float, aspect: float) -> Grid:
        """Sides in patches of a rectangle with a share of the grid."""
        area = share * math.prod(self.grid)
        sides = math.sqrt(area * aspect), math.sqrt(area / aspect)
        tall, wide = (
            min(limit, max(1, round(side))) for side, limit in zip(sides, self.grid, strict=True)
        )
        return tall, wide

    def _places(self, shape: Shape, box: Grid, generator: torch.Generator) -> Tensor:
        """First row and column of rectangles, uniform over all that fit: (*shape, 2)."""
        room = tuple(side - own for side, own in zip(self.grid, box, strict=True))
        limit = constant(room, generator.device, torch.int64)
        return whole(limit.expand(*shape, 2), generator)

    def _indices(self, first: Tensor, box: Grid) -> Tensor:
        """Patches of each rectangle, row by row: (..., 2) -> (..., tall wide)."""
        rows, columns = (
            first[..., k, None] + torch.arange(box[k], device=first.device) for k in (0, 1)
        )
        return (rows[..., :, None] * self.grid[1] + columns[..., None, :]).flatten(-2)

    def _inside(self, first: Tensor, box: Grid) -> Tensor:
        """Patches in each rectangle: (..., 2) -> (..., h w) bool."""
        boxes = torch.cat(
            [first, constant(box, first.device, torch.int64).expand_as(first)], -1
        ).flatten(0, -2)
        return inside(boxes, *self.grid).view(*first.shape[:-1], -1)
