"""Random rectangles of images as their files hold them: a crop has all the detail there is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from genlab.augment.boxes import RATIO, TRIES
from genlab.data.files.encoded import Encoded

Box = tuple[int, int, int, int]  # top, left, height, width in full pixels
Numbers = NDArray[np.float64]
Words = NDArray[np.uint64]
COUNT = 2 * TRIES + 2  # numbers drawn for a cut
GOLDEN = 0x9E3779B97F4A7C15


class Cut(Protocol):
    """A random part of an image, ``size`` pixels wide and high in the end."""

    @property
    def size(self) -> int:
        """Side of the result in pixels."""
        ...

    def box(self, height: int, width: int, drawn: Numbers) -> Box:
        """The part in full pixels, from `COUNT` numbers in [0, 1)."""
        ...

    def of(self, pixels: Tensor, box: Box, scale: int, drawn: Numbers) -> Tensor:
        """(C, size, size) out of pixels (h, w, C) decoded at 1 / ``scale``; see `resized`."""
        ...


@dataclass(frozen=True)
class RandomCrop:
    """Boxes of `torchvision.transforms.RandomResizedCrop`, resized bilinearly with antialias.

    Args:
        size: side of the result in pixels.
        area: smallest and largest share of the image.

    Source: Szegedy et al. 2014, arXiv:1409.4842, as in torchvision. Departure: where a JPEG is
    decoded at 1 / s, edges are multiples of s pixels.
    """

    size: int
    area: tuple[float, float]

    def box(self, height: int, width: int, drawn: Numbers) -> Box:
        low, high = math.log(RATIO[0]), math.log(RATIO[1])
        for k in range(TRIES):
            area = height * width * (self.area[0] + drawn[2 * k] * (self.area[1] - self.area[0]))
            ratio = math.exp(low + drawn[2 * k + 1] * (high - low))
            wide, tall = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if 0 < wide <= width and 0 < tall <= height:
                down, right = height - tall + 1, width - wide + 1
                return int(drawn[-2] * down), int(drawn[-1] * right), tall, wide
        wide = min(width, round(height * RATIO[1]))  # the central crop of the nearest ratio
        tall = min(height, round(width / RATIO[0]))
        return (height - tall) // 2, (width - wide) // 2, tall, wide

    def of(self, pixels: Tensor, box: Box, scale: int, drawn: Numbers) -> Tensor:
        top, left, tall, wide = snapped(box, scale, *pixels.shape[:2])
        return resized(pixels[top : top + tall, left : left + wide], self.size, self.size)


@dataclass(frozen=True)
class Shift:
    """The centre square moved by whole pixels of the result; its neighbourhood comes into view.

    Beyond the image's own edges pixels are mirrored, or black.

    Args:
        size: side of the result in pixels.
        most: largest shift along each side, uniform in -most ... most.
        padding: ``reflect`` or ``zeros``.

    Raises:
        ValueError: more reflected pixels than the result has.
    """

    size: int
    most: int
    padding: str

    def __post_init__(self) -> None:
        if self.padding == "reflect" and self.most >= self.size:
            raise ValueError(
                f"translate {self.most} must be less than the image's side {self.size}"
            )

    def box(self, height: int, width: int, drawn: Numbers) -> Box:
        side = min(height, width)
        return (height - side) // 2, (width - side) // 2, side, side

    def of(self, pixels: Tensor, box: Box, scale: int, drawn: Numbers) -> Tensor:
        height, width = pixels.shape[:2]
        grown = self.size / min(height, width)
        height, width = (max(self.size, round(side * grown)) for side in (height, width))
        image = resized(pixels, height, width)[None]
        mode = "reflect" if self.padding == "reflect" else "constant"
        image = F.pad(image.float(), (self.most,) * 4, mode=mode)[0].to(image.dtype)
        down, right = (int(u * (2 * self.most + 1)) for u in drawn[:2])
        top, left = (height - self.size) // 2 + down, (width - self.size) // 2 + right
        return image[:, top : top + self.size, left : left + self.size]


def cut_out(encoded: Encoded, cuts: Sequence[Cut], drawn: Numbers) -> Iterator[Tensor]:
    """All parts of an image from one decoding, at the smallest scale that is as fine as they are.

    Args:
        encoded: the image.
        cuts: V cuts.
        drawn: (V, `COUNT`) numbers in [0, 1).

    Returns:
        One (C, size, size) tensor of bytes a cut, or of 16 bits. The image is decoded at once, a
        part is cut when it is asked for: errors of damaged files come before the first.
    """
    boxes = [
        cut.box(encoded.height, encoded.width, numbers)
        for cut, numbers in zip(cuts, drawn, strict=True)
    ]
    need = min(min(box[2:]) / cut.size for cut, box in zip(cuts, boxes, strict=True))
    scale = encoded.scale_for(need)
    pixels = torch.from_numpy(encoded.pixels(scale))
    rows = zip(cuts, boxes, drawn, strict=True)
    return (cut.of(pixels, box, scale, numbers) for cut, box, numbers in rows)


def snapped(box: Box, scale: int, height: int, width: int) -> Box:
    """A box in pixels of an image of ``height`` x ``width`` that was decoded at 1 / ``scale``."""
    top, left, tall, wide = (round(length / scale) for length in box)
    tall, wide = max(1, min(tall, height)), max(1, min(wide, width))
    return min(top, height - tall), min(left, width - wide), tall, wide


def resized(pixels: Tensor, height: int, width: int) -> Tensor:
    """(h, w, C) -> (C, height, width), bilinear with antialias; of bytes equal to Pillow's.

    Pixels are bytes, or the same numbers as floats, and give bytes; or they are of 16 bits.
    """
    image, deep = pixels.permute(2, 0, 1)[None], pixels.dtype == torch.uint16
    image = image.float() if deep else image
    image = F.interpolate(image, (height, width), mode="bilinear", antialias=True)[0]
    if deep:
        return image.round_().to(torch.uint16)
    return image.round_().byte() if image.is_floating_point() else image


def numbers(seed: int, rows: NDArray[np.int64], stream: int) -> Numbers:
    """`COUNT` numbers in [0, 1) for each place in a batch, from nothing but seed, place, stream.

    The splitmix64 finaliser (Steele, Lea, Flood 2014) of a counter.

    Args:
        seed: batch seed, equal on all ranks.
        rows: (N,) places in the global batch.
        stream: number of the cut.
    """
    step = np.uint64(GOLDEN)
    key = _mixed(np.array([stream + 1], np.uint64) * step) ^ np.uint64(seed)
    place = _mixed(_mixed(key) + rows.astype(np.uint64)[:, None] * step)
    drawn = _mixed(place + np.arange(1, COUNT + 1, dtype=np.uint64) * step)
    return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(x: Words) -> Words:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Words = x ^ (x >> np.uint64(31))
    return mixed
