"""Images read in 16 bits a channel, of which Pillow keeps 8 where there are several channels."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from genlab.data.files.decoding import STRIP, bounded, converted, room_for

Values = NDArray[np.uint16]
MOST = 65535
WIDER = 257  # 255 x 257 = 65535
GREY = (19595, 38470, 7471)  # ITU-R 601 in 65536ths, as Pillow
SIZ = b"\xff\x4f\xff\x51"  # JPEG 2000: where the segment with the number of bits begins
BITS_PER_SAMPLE = 258  # TIFF's tag


def sixteen(data: bytes, channels: int, turned: Callable[[Values], Values]) -> Values:
    """An image's channels in 16 bits; those of 8 are multiplied by 257.

    Args:
        data: content of the file; not a JPEG, of which 8 bits are all.
        channels: 1, 3 or 4, as for `decoding.converted`.
        turned: function that turns an image (h, w, C) upright.

    Returns:
        (h, w, C), upright.

    Raises:
        OSError: a damaged image, one of too many pixels, or one of which only 8 bits can be read;
            Pillow raises other kinds too.
    """
    with Image.open(BytesIO(data)) as picture, room_for(picture):
        if picture.format == "PNG" and _bits(picture, data) > 8:
            values = _with(_png(data, picture.info.get("transparency")), channels)
            return np.ascontiguousarray(turned(values))
        one = picture.mode in ("I", "F") or picture.mode.startswith("I;16")
        if not one and _bits(picture, data) > 8:
            raise OSError(f"colour of more than 8 bits cannot be read from {picture.format}: "
                          "write a PNG, or set data.dtype=uint8")  # fmt: skip
        ImageOps.exif_transpose(picture, in_place=True)
        if not one:
            plain = np.asarray(converted(picture, channels))
            return widened(plain.reshape(*plain.shape[:2], channels))
        grey: NDArray[Any] = np.asarray(picture)
        if picture.mode == "I":
            grey = grey.clip(0, MOST)
        elif picture.mode == "F":
            grey = bounded(grey, MOST)
        return _with(grey.astype(np.uint16)[..., None], channels)


def jpeg_loses(picture: Image.Image, data: bytes) -> bool:
    """True if a JPEG of the image would lose bits or transparency; ``data`` is its file."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16") or _bits(picture, data) > 8:
        return True
    if picture.mode in ("RGBA", "LA", "PA"):
        return picture.getchannel("A").getextrema()[0] != 255
    return "transparency" in picture.info


def widened(pixels: NDArray[np.uint8]) -> Values:
    """Bytes in 16 bits."""
    return pixels.astype(np.uint16) * np.uint16(WIDER)


def _bits(picture: Image.Image, data: bytes) -> int:
    """Bits of a channel in the file; 8 where the format has no more."""
    kind, tiles = picture.format, getattr(picture, "tile", ())
    if kind == "PNG":
        return data[24]
    if kind == "TIFF":
        return int(max(getattr(picture, "tag_v2", {}).get(BITS_PER_SAMPLE, (1,))))
    if kind == "JPEG2000":
        return (data[data.index(SIZ) + 42] & 127) + 1
    if kind == "AVIF":
        return 10 if data[data.index(b"av1C") + 6] & 0x40 else 8
    if kind == "SGI":
        return 8 * data[3]
    if kind == "PPM" and tiles and isinstance(tiles[0].args, tuple):
        return 16 if tiles[0].args[-1] > 255 else 8
    return 8


def _png(data: bytes, clear: int | tuple[int, ...] | None) -> Values:
    """(h, w, 1 to 4) values of a PNG: grey or colour, with transparency if there is any.

    Args:
        data: content of the file.
        clear: grey or colour that is transparent; None for none.
    """
    import torch  # packing does without
    from torchvision.io import ImageReadMode, decode_png

    try:
        content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        values: Values = decode_png(content, ImageReadMode.UNCHANGED).permute(1, 2, 0).numpy()
    except RuntimeError:
        raise OSError("it is a damaged PNG") from None
    if clear is None:
        return values
    seen = (values != np.array(clear, np.uint16)).any(2, keepdims=True)
    return np.concatenate([values, seen * np.uint16(MOST)], 2)


def _with(values: Values, channels: int) -> Values:
    """Values (h, w, 1 to 4) with as many channels as are wanted, made in strips."""
    if values.shape[2] == channels:
        return values
    found = np.empty((*values.shape[:2], channels), np.uint16)
    for top in range(0, len(values), STRIP):
        found[top : top + STRIP] = _strip(values[top : top + STRIP], channels)
    return found


def _strip(values: Values, channels: int) -> Values:
    colour, rest = values, np.full((*values.shape[:2], 1), MOST, np.uint16)
    if values.shape[2] in (2, 4):
        colour, rest = values[..., :-1], values[..., -1:]
    if channels == 4:
        return np.concatenate([np.broadcast_to(colour, (*rest.shape[:2], 3)), rest], 2)
    shown = colour.astype(np.uint32) * rest + np.uint32(MOST) * (MOST - rest)  # on white
    plain = (shown + MOST // 2) // MOST
    if channels == 1 and plain.shape[2] == 3:
        weighed = plain.astype(np.uint64) * np.array(GREY, np.uint64)
        plain = (weighed.sum(2, keepdims=True) + 2**15) >> 16
    return np.broadcast_to(plain, (*rest.shape[:2], channels)).astype(np.uint16)
