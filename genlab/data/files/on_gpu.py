"""JPEGs decoded on a GPU: worker processes read bytes and draw boxes, the GPU makes the crops.

Boxes and draws are those of `files.cuts`. Workers decode what is not a JPEG, and JPEGs that must be
turned, are cut short, or have more than `decoding.LARGE` pixels, which a smaller scale saves.

Never run on a GPU yet; the tests run the same code with the device ``cpu``.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from genlab.data.files.cuts import Box, Cut, Numbers
from genlab.data.files.decoding import LARGE
from genlab.data.files.encoded import Encoded

AT_ONCE = 64 * 10**6  # pixels that are decoded at the same time


@dataclass(frozen=True)
class Undecoded:
    """A JPEG on its way to the GPU.

    Args:
        data: its bytes.
        pixels: their number when it is decoded.
        channels: 1 for grey, 3 for colour.
        boxes: V boxes in full pixels, one a cut.
        drawn: (V, `cuts.COUNT`) numbers in [0, 1).
    """

    data: bytes
    pixels: int
    channels: int
    boxes: list[Box]
    drawn: Numbers


def undecoded(encoded: Encoded, cuts: Sequence[Cut], drawn: Numbers) -> Undecoded | None:
    """An image for the GPU; None if it is to be decoded here."""
    size = encoded.height * encoded.width
    if not encoded.is_upright_jpeg or size > LARGE:
        return None
    pairs = zip(cuts, drawn, strict=True)
    boxes = [cut.box(encoded.height, encoded.width, numbers) for cut, numbers in pairs]
    return Undecoded(encoded.data, size, encoded.channels, boxes, drawn)


def crops(
    images: Sequence[Undecoded], cuts: Sequence[Cut], device: torch.device
) -> Iterator[list[Tensor] | None]:
    """For each image, one (C, size, size) tensor of bytes a cut; None if the GPU refuses it."""
    for group in _groups(images):
        for image, pixels in zip(group, _decoded(group, device), strict=True):
            yield None if pixels is None else _cut(pixels, image, cuts)


def _cut(pixels: Tensor, image: Undecoded, cuts: Sequence[Cut]) -> list[Tensor]:
    whole = pixels.permute(1, 2, 0).float()  # GPUs have no antialiased resize of bytes
    rows = zip(cuts, image.boxes, image.drawn, strict=True)
    return [cut.of(whole, box, 1, numbers) for cut, box, numbers in rows]


def _groups(images: Sequence[Undecoded]) -> Iterator[list[Undecoded]]:
    """The images in order, at most `AT_ONCE` pixels together."""
    group: list[Undecoded] = []
    for image in images:
        if group and sum(one.pixels for one in group) + image.pixels > AT_ONCE:
            yield group
            group = []
        group.append(image)
    if group:
        yield group


def _decoded(group: list[Undecoded], device: torch.device) -> list[Tensor | None]:
    """(C, h, w) bytes of each on the device; all at once, or one by one if one of them fails."""
    try:
        return [*_decode(group, device)]
    except RuntimeError:
        return [None] if len(group) == 1 else [_decoded([one], device)[0] for one in group]


def _decode(group: list[Undecoded], device: torch.device) -> list[Tensor]:
    from torchvision.io import ImageReadMode, decode_jpeg

    mode = ImageReadMode.RGB if group[0].channels == 3 else ImageReadMode.GRAY
    data = [torch.frombuffer(bytearray(image.data), dtype=torch.uint8) for image in group]
    with warnings.catch_warnings():  # torchvision 0.29 announces that TorchCodec will follow it
        warnings.simplefilter("ignore", DeprecationWarning)
        found: list[Tensor] = decode_jpeg(data, mode, device)
    return found


def device_for(trainer: Any) -> torch.device:
    """The GPU on which a process trains.

    Args:
        trainer: its trainer; None for the current GPU, without a trainer.

    Raises:
        ValueError: there is none, or the training runs elsewhere.
    """
    if not torch.cuda.is_available():
        raise ValueError("decode 'gpu' requires a GPU; this machine has none")
    device: torch.device = trainer.strategy.root_device if trainer else torch.device("cuda")
    if device.type != "cuda":
        raise ValueError(f"decode 'gpu' requires training on a GPU, not on {device.type}")
    return device
