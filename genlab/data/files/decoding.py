"""Decoding of image files of any size and mode to squares of bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


@dataclass(frozen=True)
class Form:
    """Form of a decoded image.

    Args:
        size: side of the square in pixels.
        channels: 1 for grey, 3 for colour. Transparent parts become white; 16 bits become 8.
        crop_ratio: share of the shorter side that the square keeps.
    """

    size: int
    channels: int
    crop_ratio: float = 1.0


def decode(path: Path | IO[bytes], form: Form) -> NDArray[np.uint8]:
    """Read an image, turn it upright, scale its shorter side to ``size``, crop the centre.

    Args:
        path: path of a file that PIL reads, or the opened file; the first frame of several.
        form: size and channels of the result.

    Returns:
        (C, size, size).

    Raises:
        OSError: not an image, or a damaged one. PIL raises other kinds too for damaged files.
    """
    size, channels = form.size, form.channels
    shorter, mode = round(size / form.crop_ratio), "RGB" if channels == 3 else "L"
    with Image.open(path) as picture:
        picture.draft(mode, (2 * shorter, 2 * shorter))  # JPEG: decode smaller
        plain = flatten(ImageOps.exif_transpose(picture)).convert(mode)
    scale = shorter / min(plain.size)
    width, height = (max(shorter, round(side * scale)) for side in plain.size)
    if (width, height) != plain.size:
        plain = plain.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=3.0)
    left, top = (width - size) // 2, (height - size) // 2
    pixels = np.asarray(plain.crop((left, top, left + size, top + size)))
    return pixels.reshape(size, size, channels).transpose(2, 0, 1)


def flatten(picture: Image.Image) -> Image.Image:
    """Remove transparency, and reduce channels to 8 bits."""
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):  # PIL's own conversion cuts at 255
        values = np.asarray(picture, dtype=np.float64)
        top = 65535 if values.max() > 255 else 255 if values.max() > 1 else 1
        return Image.fromarray((values.clip(0, top) * (255 / top)).round().astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        overlay = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", overlay.size, "white"), overlay)
    return picture
