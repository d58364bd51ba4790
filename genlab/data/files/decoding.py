"""Decoding of image files of any size and mode to squares of bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from genlab.files import check_regular

MOST = 64 * 10**6  # pixels of a file, at whatever scale it is decoded: up to 15 bytes for each
MOST_BYTES = 16 * MOST  # of a file: four channels of 32 bits a pixel
UNSEEN = 16 * 2**20  # bytes of a file that is read whole before it is known to be an image
MODES = {1: "L", 3: "RGB", 4: "RGBX"}  # Pillow's, by number of channels
LARGE = 8 * 10**6  # pixels from which images are decoded one after another
STRIP = 256  # lines
SAMPLES = 277  # TIFF's tag of the number of channels
KEEPS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX")  # modes that RGBA is made of
_alone = threading.Lock()


@dataclass(frozen=True)
class Form:
    """Form of a decoded image.

    Args:
        size: side of the square in pixels.
        channels: see `converted`.
        crop_ratio: share of the shorter side that the square keeps.
        bits: 8 or 16 a channel.
    """

    size: int
    channels: int
    crop_ratio: float = 1.0
    bits: int = 8


def decode(path: Path | IO[bytes], form: Form) -> NDArray[np.uint8]:
    """Read 8 bits of an image, turn it upright, scale its shorter side, crop the centre.

    Args:
        path: path of a file that PIL reads, or the opened file; the first frame of several.
        form: size and channels of the result.

    Returns:
        (C, size, size).

    Raises:
        OSError: not an image, a damaged one, or one of more than `MOST` pixels or `MOST_BYTES`.
            PIL raises other kinds too for damaged files.
    """
    if isinstance(path, Path):
        check_file(path)
    shorter, channels = round(form.size / form.crop_ratio), form.channels
    with Image.open(path) as picture:
        check_pixels(picture.width, picture.height)  # a progressive JPEG takes memory for all
        picture.draft("L" if channels == 1 else "RGB", (2 * shorter,) * 2)  # JPEG: decode smaller
        with room_for(picture):
            ImageOps.exif_transpose(picture, in_place=True)
            plain = converted(picture, channels)
            plain.load()
    whole, box = frame(plain.size, form)
    if whole != plain.size:
        plain = plain.resize(whole, Image.Resampling.BICUBIC, reducing_gap=3.0)
    pixels = np.asarray(plain.crop(box))
    return pixels.reshape(form.size, form.size, channels).transpose(2, 0, 1)


def frame(size: tuple[int, int], form: Form) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
    """Width and height to which an image of ``size`` is scaled, and the box of its centre."""
    shorter = round(form.size / form.crop_ratio)
    scale = shorter / min(size)
    width, height = (max(shorter, round(side * scale)) for side in size)
    left, top = (width - form.size) // 2, (height - form.size) // 2
    return (width, height), (left, top, left + form.size, top + form.size)


@contextmanager
def room_for(picture: Image.Image) -> Iterator[None]:
    """Decode a large image when no other large one is being decoded in this process.

    Raises:
        OSError: it has more than `MOST` pixels.
    """
    check_pixels(picture.width, picture.height)
    with _alone if picture.width * picture.height > LARGE else nullcontext():
        yield


def check_file(path: Path) -> None:
    """Refuse a file that would take too much memory to read; of a large one the head is looked at.

    Raises:
        OSError: not a file, no image, or one of more than `MOST_BYTES` or `MOST` pixels.
    """
    check_regular(path)
    if (size := path.stat().st_size) > MOST_BYTES:
        raise OSError(f"it has {size:,} bytes, more than {MOST_BYTES // 10**6:,} million")
    if size > UNSEEN:
        with Image.open(path) as picture:
            check_pixels(picture.width, picture.height)


def check_pixels(width: int, height: int) -> None:
    """Refuse an image that would take too much memory.

    Raises:
        OSError: it has more than `MOST` pixels.
    """
    if width * height > MOST:
        raise OSError(
            f"it has {width:,} x {height:,} pixels, more than {MOST // 10**6} million: "
            "scale it down"
        )


def converted(picture: Image.Image, channels: int) -> Image.Image:
    """An image of 8 bits with as many channels as are wanted, of a mode in `MODES`.

    Four are the mode RGBX, not RGBA: Pillow multiplies colour by the fourth channel to resize
    RGBA; here every channel is resized by itself, in crops too.

    Args:
        picture: an image of any mode.
        channels: 1 for grey, 3 for colour: transparent parts become white. 4 for colour as
            stored and the fourth channel, opaque (255) where the image has none.

    Raises:
        OSError: a TIFF whose fourth channel Pillow does not read.
    """
    if channels < 4:
        plain = flatten(picture)
        return plain if plain.mode == MODES[channels] else plain.convert(MODES[channels])
    if picture.mode == "RGB" and getattr(picture, "tag_v2", {}).get(SAMPLES, 3) > 3:
        raise OSError("its fourth channel has no name: write a PNG, or a TIFF with ExtraSamples 2")
    if picture.mode not in KEEPS:
        picture = flatten(picture).convert("RGB")
    if picture.mode not in ("RGBA", "RGBX"):
        picture = picture.convert("RGBA")
    return Image.merge("RGBX", picture.split())


def flatten(picture: Image.Image) -> Image.Image:
    """Remove transparency, and reduce channels to 8 bits."""
    if picture.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):  # PIL's own conversion cuts at 255
        return Image.fromarray(bounded(np.asarray(picture), 255).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        return _on_white(picture)
    return picture


def bounded(values: NDArray[Any], most: int) -> NDArray[np.uint16]:
    """Numbers as whole ones in 0 ... ``most``: scaled from 0 ... 1, 255 or 65535 as they reach."""
    largest = np.fmax.reduce(values, axis=None)  # of those that are numbers; others become 0
    top = 65535 if largest > 255 else 255 if largest > 1 else 1
    whole = np.empty(values.shape, np.uint16)
    for row, line in enumerate(values):  # a line at a time: float64 takes eight bytes
        known = np.nan_to_num(line.astype(np.float64), posinf=top)
        whole[row] = (known.clip(0, top) * (most / top)).round()
    return whole


def _on_white(picture: Image.Image) -> Image.Image:
    """An image without transparency, made in strips: a whole layer more can be 256 MB."""
    plain = Image.new("RGB", picture.size)
    for top in range(0, picture.height, STRIP):
        strip = picture.crop((0, top, picture.width, min(picture.height, top + STRIP)))
        strip = strip.convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        plain.paste(Image.alpha_composite(white, strip).convert("RGB"), (0, top))
    return plain
