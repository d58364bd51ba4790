"""Dynamic binarisation: random black or white pixels from grey ones."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab import distributed
from genlab.augment.draws import generator

EVEN = -0x0001000100010002  # as 64 bits: FFFE FFFE FFFE FFFE


def binarize(image: Tensor, seed: int, *, sliced: bool = True) -> Tensor:
    """One Bernoulli draw per pixel, with the pixel's intensity as the probability of white.

    The draw belongs to the global batch: this process takes rows ``rank, rank + world, ...`` of
    it, which are those its loader gave it, so N processes see what one would.

    Args:
        image: (B, ...) uint8.
        seed: seed of the draw, equal on all ranks.
        sliced: False when every rank has the same images and wants the same draw.

    Returns:
        Same shape, uint8, 0 or 255.

    Raises:
        ValueError: ``image`` is not uint8.

    Source: Salakhutdinov & Murray 2008 (dynamic binarisation).
    Departure: the probability is quantised to 15 bits, within 2^-15 of v/255 and exact for black
    and white; comparing 16-bit integers costs half of drawing floats.
    """
    if image.dtype != torch.uint8:
        raise ValueError(f"image is {image.dtype}, not torch.uint8")
    world = distributed.world_size() if sliced else 1
    rows = distributed.rank() if sliced else 0
    shape = (len(image) * world, *image.shape[1:])
    drawn = bits(shape, seed, image.device)[rows::world]
    white = drawn < image.to(torch.int16) * 257 - 32768
    return white.to(torch.uint8) * 255


def bits(shape: tuple[int, ...], seed: int, device: torch.device) -> Tensor:
    """Uniform even int16 in [-2^15, 2^15 - 2], four from each 64-bit draw."""
    count = torch.Size(shape).numel()
    words = torch.empty((count + 3) // 4, dtype=torch.int64, device=device)
    words.random_(-(2**63), None, generator=generator(seed, device)).bitwise_and_(EVEN)
    return words.view(torch.int16)[:count].view(shape)
