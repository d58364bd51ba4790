"""Encoded images: pixels are Pillow's, at full scale and upright."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageOps

from genlab.data.files.encoded import Encoded


def photograph(height: int = 61, width: int = 83, seed: int = 0) -> Image.Image:
    """Smooth shapes with fine grain, as photographs have."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    grain = generator.normal(0, 8, (height, width, 3))
    return Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8))


def saved(picture: Image.Image, kind: str = "JPEG", **options: object) -> BytesIO:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    buffer.seek(0)
    return buffer


def by_pillow(file: BytesIO, mode: str) -> np.ndarray:
    file.seek(0)
    with Image.open(file) as picture:
        picture.draft(mode, picture.size)  # grey is a JPEG's own brightness
        plain = ImageOps.exif_transpose(picture).convert(mode)
    return np.asarray(plain).reshape(plain.height, plain.width, -1)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("channels", [1, 3])
def test_a_jpeg_is_pillows_in_every_orientation(turn: int, channels: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    file = saved(photograph(), quality=90, exif=exif)
    found = Encoded(file, channels)
    expected = by_pillow(file, "RGB" if channels == 3 else "L")
    assert (found.height, found.width) == expected.shape[:2]
    assert np.array_equal(found.pixels(), expected)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP"])
def test_other_formats_are_pillows(kind: str) -> None:
    file = saved(photograph(), kind)
    found = Encoded(file, 3)
    assert np.array_equal(found.pixels(), by_pillow(file, "RGB"))
    assert found.scale_for(8.0) == 1


def test_a_jpeg_of_four_inks_is_pillows() -> None:
    file = saved(photograph().convert("CMYK"), quality=90)
    assert np.array_equal(Encoded(file, 3).pixels(), by_pillow(file, "RGB"))


@pytest.mark.parametrize(("need", "scale"), [(0.4, 1), (1.99, 1), (2.0, 2), (7.9, 4), (20.0, 8)])
def test_the_scale_leaves_as_many_pixels_as_are_needed(need: float, scale: int) -> None:
    found = Encoded(saved(photograph(), quality=90), 3)
    assert found.scale_for(need) == scale
    pixels = found.pixels(scale)
    assert pixels.shape == (-(-61 // scale), -(-83 // scale), 3)


def test_a_quarter_turn_scales_alike() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    found = Encoded(saved(photograph(), quality=90, exif=exif), 3)
    assert found.pixels(4).shape == (21, 16, 3)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("turn", [1, 6])
def test_a_slightly_damaged_jpeg_is_read_at_every_scale(
    channels: int, bits: int, turn: int
) -> None:
    """Bytes too many before the end, of which libjpeg warns; evaluation reads such files."""
    exif = Image.Exif()
    exif[0x0112] = turn
    sound = saved(photograph(), quality=90, exif=exif).getvalue()
    damaged = sound[:-2] + bytes(8) + sound[-2:]
    for scale in (1, 2, 4, 8):
        found, expected = (
            Encoded(BytesIO(data), channels, bits).pixels(scale).astype(float)
            for data in (damaged, sound)
        )
        assert found.shape == expected.shape
        assert np.abs(found - expected).mean() < 2 * (1 if bits == 8 else 257)


@pytest.mark.parametrize("scale", [1, 2, 4, 8])
def test_a_torn_jpeg_is_an_error_at_every_scale(scale: int) -> None:
    content = saved(photograph(), quality=90).getvalue()
    with pytest.raises(OSError, match="truncated"):
        Encoded(BytesIO(content[: len(content) // 2]), 3).pixels(scale)
