"""Size of random crops in pixels, of images as they are packed and as their files hold them."""

from __future__ import annotations

import math
from io import BytesIO
from operator import ne
from statistics import median

import numpy as np
from PIL import Image

from genlab.data.files.decoding import check_pixels
from genlab.data.files.folder_scan import Listing

Size = tuple[int, int]  # width, height

LEAST = 0.08  # smallest area of the recipes' crops of `WANTED` pixels
WANTED = 224
SAMPLE = 256  # images looked at


def crops_of(images: Listing, side: int | None, seed: int) -> str:
    """One line on what random crops lose by packing; medians over `SAMPLE` images.

    Args:
        images: the training images.
        side: shorter side to which larger images are scaled; None for as they are.
        seed: seed of the sample.

    Returns:
        Empty if none of the sample can be read.
    """
    if side is None:
        return "crops lose nothing: images keep all their pixels (--resize N scales them down)"
    sizes = _sizes(images, seed)
    if not sizes:
        return ""
    packed = [scaled(size, side) for size in sizes]
    if packed == sizes:
        return f"crops lose nothing: none of {len(sizes)} images looked at is larger than {side}"
    share = sum(map(ne, packed, sizes)) / len(sizes)
    now, before = (median(math.prod(size) for size in some) for some in (packed, sizes))
    return (
        f"{share:.0%} of images are scaled down: crops of {LEAST:.0%} of the area are "
        f"{_side(LEAST * now)} pixels a side, of 100% {_side(now)} "
        f"(enlarged to {WANTED}: {_enlarged(now)}); from the files "
        f"{_side(LEAST * before)} and {_side(before)} ({_enlarged(before)})"
    )


def scaled(size: Size, side: int) -> Size:
    """Width and height with a shorter side of at most ``side``, in proportion."""
    if min(size) <= side:
        return size
    scale = side / min(size)
    width, height = (max(side, round(length * scale)) for length in size)
    return width, height


def _side(area: float) -> int:
    return round(math.sqrt(area))


def _enlarged(area: float) -> str:
    """Which crops of an image of ``area`` pixels are smaller than they are wanted."""
    share = WANTED**2 / area
    if share <= LEAST:
        return "none"
    return "all" if share > 1 else f"below {share:.0%} of the area"


def _sizes(images: Listing, seed: int) -> list[Size]:
    """Sizes of some of the images; broken ones are left out."""
    generator, read = np.random.default_rng(seed), images.reader()
    rows = generator.choice(len(images.files), min(SAMPLE, len(images.files)), replace=False)
    found = []
    for row in sorted(rows.tolist()):
        try:
            with Image.open(BytesIO(read(row))) as picture:
                check_pixels(*picture.size)
                found.append(picture.size)
        except Exception:  # damaged files make PIL raise nearly anything; packing names them
            continue
    return found
