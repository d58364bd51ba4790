"""Random rectangles: for random resized crops, random erasing and cutout."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from genlab.augment.draws import Shape, constant, uniform, whole

TRIES = 10  # as torchvision
RATIO = (3 / 4, 4 / 3)  # width over height of a crop


def crop_boxes(shape: Shape, area: Sequence[float], generator: torch.Generator) -> Tensor:
    """Boxes of `torchvision.transforms.RandomResizedCrop`; the whole image where none fits.

    Args:
        shape: (N, C, H, W) of the images.
        area: smallest and largest share of the image.
        generator: random generator, on the device where the boxes are wanted.

    Returns:
        (N, 4) int64: top, left, height, width.

    Source: Szegedy et al. 2014, arXiv:1409.4842, as in torchvision.
    Departure: for images far from square torchvision falls back to a central crop of ratio 3/4 or
    4/3; for square images, all that genlab has, that is the whole image.
    """
    return _first_that_fits(shape, area, RATIO, generator, below=False)


def erase_boxes(
    shape: Shape,
    chance: float,
    generator: torch.Generator,
    area: tuple[float, float] = (0.02, 0.33),
    ratio: tuple[float, float] = (0.3, 3.3),
) -> Tensor:
    """Boxes of `torchvision.transforms.RandomErasing`; empty where nothing is erased.

    Args:
        shape: (N, C, H, W) of the images.
        chance: probability of erasing, per image.
        generator: random generator, on the device where the boxes are wanted.
        area: smallest and largest share of the image.
        ratio: smallest and largest width over height; log-uniform.

    Returns:
        (N, 4) int64: top, left, height, width.

    Source: Zhong et al. 2017, arXiv:1708.04896, as in torchvision.
    """
    boxes = _first_that_fits(shape, area, ratio, generator, below=True)
    return boxes * (uniform(shape[0], 0.0, 1.0, generator) < chance)[:, None]


def square_boxes(shape: Shape, side: int, generator: torch.Generator) -> Tensor:
    """Squares about a uniform pixel, cut off at the borders: cutout.

    Args:
        shape: (N, C, H, W) of the images.
        side: side of the square in pixels.
        generator: random generator, on the device where the boxes are wanted.

    Returns:
        (N, 4) int64: top, left, height, width.

    Source: DeVries & Taylor 2017, arXiv:1708.04552.
    """
    size = constant(tuple(shape[2:]), generator.device, torch.int64).expand(shape[0], 2)
    start = whole(size - 1, generator) - side // 2
    end = torch.minimum(start + side, size)
    start = start.clamp(min=0)
    return torch.cat([start, end - start], 1)


def inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """(N, 1, height, width) bool: which pixels lie in each image's box (N, 4)."""
    top, left, tall, wide = (column[:, None] for column in boxes.unbind(1))
    y = torch.arange(height, device=boxes.device)
    x = torch.arange(width, device=boxes.device)
    rows, columns = (y >= top) & (y < top + tall), (x >= left) & (x < left + wide)
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _first_that_fits(
    shape: Shape,
    area: Sequence[float],
    ratio: Sequence[float],
    generator: torch.Generator,
    *,
    below: bool,
) -> Tensor:
    """The first of `TRIES` boxes that fits in the image; ``below``: smaller than each side.

    Where none fits: an empty box if ``below``, else the whole image.
    """
    count, _, height, width = shape
    pixels = uniform((count, TRIES), area[0], area[1], generator) * (height * width)
    aspect = uniform((count, TRIES), math.log(ratio[0]), math.log(ratio[1]), generator).exp()
    wide, tall = (pixels * aspect).sqrt().round().long(), (pixels / aspect).sqrt().round().long()
    if below:
        wide, tall = tall, wide  # RandomErasing's ratio is height over width
        fits = (wide < width) & (tall < height)
    else:
        fits = (wide <= width) & (tall <= height) & (wide > 0) & (tall > 0)
    first = fits.long().argmax(1, keepdim=True)
    wide, tall = wide.gather(1, first)[:, 0], tall.gather(1, first)[:, 0]
    none = ~fits.any(1)
    wide = wide.masked_fill(none, 0 if below else width)
    tall = tall.masked_fill(none, 0 if below else height)
    top, left = whole(height - tall, generator), whole(width - wide, generator)
    return torch.stack([top, left, tall, wide], 1)
