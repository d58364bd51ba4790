"""Files of 16 bits a channel: their own values, upright, in the channels that are wanted."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from genlab.data.files import sixteen
from genlab.data.files.centre import centre
from genlab.data.files.decoding import Form, decode
from genlab.data.files.encoded import Encoded
from tests.data.files.test_encoded import photograph

KINDS = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG's colour types by number of channels


def values(height: int = 30, width: int = 40, channels: int = 3, seed: int = 0) -> NDArray[Any]:
    """A photograph with noise below its bytes."""
    smooth = np.asarray(photograph(height, width, seed)).astype(np.uint16)
    noise = np.random.default_rng(seed).integers(0, 257, (height, width, 4))
    four = np.concatenate([smooth, smooth[..., :1]], 2).astype(np.uint16)
    return (four * 256 + noise.clip(0, 255)).astype(np.uint16)[..., :channels]


def png(pixels: NDArray[Any], extra: bytes = b"", turn: int = 0) -> bytes:
    """A PNG of 16 bits."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", width, height, 16, KINDS[channels], 0, 0, 0)
    exif = Image.Exif()
    exif[0x0112] = turn
    parts = [chunk(b"IHDR", head)] + ([chunk(b"tRNS", extra)] if extra else [])
    parts += [chunk(b"eXIf", exif.tobytes()[6:])] if turn else []
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", *parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    )


def read(data: bytes, channels: int) -> NDArray[Any]:
    found = Encoded(BytesIO(data), channels, 16).pixels()
    assert found.dtype == np.uint16
    return found


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_is_read_as_it_is_stored(channels: int) -> None:
    pixels = values(channels=channels)
    assert np.array_equal(read(png(pixels), channels), pixels)
    square = centre(BytesIO(png(pixels)), Form(30, channels, bits=16))
    assert np.array_equal(square, pixels[:, 5:35].transpose(2, 0, 1))


def test_channels_are_made_of_others_as_in_8_bits() -> None:
    """What 16 bits give is within a byte of what the path of 8 bits gives."""
    for stored in (1, 2, 3, 4):
        data = png(values(channels=stored))
        for channels in (1, 3, 4):
            eight = Encoded(BytesIO(data), channels).pixels().astype(float)
            assert np.abs(read(data, channels) / 257 - eight).max() < 2, (stored, channels)


def test_a_transparent_colour_of_a_png_is_transparent() -> None:
    pixels = values()
    pixels[:4, :, :] = (1, 2, 3)
    data = png(pixels, struct.pack(">HHH", 1, 2, 3))
    assert (read(data, 4)[:4, :, 3] == 0).all()
    assert (read(data, 4)[4:, :, 3] == 65535).all()
    assert (read(data, 3)[:4] == 65535).all()
    assert np.array_equal(read(data, 3)[4:], pixels[4:])
    grey = png(values(channels=1), struct.pack(">H", values(channels=1)[5, 6, 0]))
    assert read(grey, 4)[5, 6, 3] == 0


@pytest.mark.parametrize("kind", ["TIFF", "PNG", "JPEG2000", "PPM"])
def test_grey_images_of_16_bits_are_read_by_pillow(kind: str) -> None:
    pixels = values(channels=1)
    buffer = BytesIO()
    Image.fromarray(pixels[..., 0]).save(buffer, kind)
    assert np.array_equal(read(buffer.getvalue(), 1), pixels)
    assert np.array_equal(read(buffer.getvalue(), 3), np.repeat(pixels, 3, 2))


@pytest.mark.parametrize("top", [1.0, 200.0, 60_000.0])
def test_floats_are_scaled_as_in_8_bits(top: float) -> None:
    numbers = (np.random.default_rng(0).random((30, 20)) * top).astype(np.float32)
    numbers[0, 0] = top
    buffer = BytesIO()
    Image.fromarray(numbers).save(buffer, "TIFF")
    scale = {1.0: 1, 200.0: 255, 60_000.0: 65535}[top]
    expected = (numbers.astype(np.float64) * (65535 / scale)).round()
    assert np.array_equal(read(buffer.getvalue(), 1)[..., 0], expected)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "AVIF", "JPEG2000", "PPM", "TIFF"])
@pytest.mark.parametrize("channels", [1, 3])
def test_8_bits_are_multiplied_by_257(kind: str, channels: int) -> None:
    buffer = BytesIO()
    photograph(64, 96).save(buffer, kind)
    data = buffer.getvalue()
    eight = Encoded(BytesIO(data), channels).pixels()
    assert np.array_equal(read(data, channels), eight.astype(np.uint16) * 257)
    for size in (64, 16):
        wide = centre(BytesIO(data), Form(size, channels, 0.9, bits=16)) / 257
        error = np.abs(wide - decode(BytesIO(data), Form(size, channels, 0.9)))
        assert error.mean() < 0.5
        assert error.max() < 2


@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_is_that_of_8_bits(turn: int) -> None:
    data = png(values(), turn=turn)
    found = Encoded(BytesIO(data), 3, 16)
    pixels = found.pixels()
    assert (found.height, found.width) == pixels.shape[:2]
    eight = Encoded(BytesIO(data), 3).pixels()
    assert np.array_equal(pixels >> 8, eight)
    assert torch.from_numpy(pixels).dtype == torch.uint16


def test_a_turned_tiff_has_the_size_that_it_has_upright() -> None:
    exif, buffer = Image.Exif(), BytesIO()
    exif[0x0112] = 6
    photograph(20, 40).save(buffer, "TIFF", exif=exif)
    for bits in (8, 16):
        found = Encoded(BytesIO(buffer.getvalue()), 3, bits)
        assert (found.height, found.width) == found.pixels().shape[:2] == (40, 20)


def colour_of_more_bits(kind: str) -> bytes:
    """Files of which Pillow reads 8 bits and no more."""
    pixels, buffer = values(8, 8), BytesIO()
    if kind == "ppm":
        return b"P6\n8 8\n65535\n" + pixels.astype(">u2").tobytes()
    if kind == "sgi":
        Image.new("RGB", (8, 8)).save(buffer, "SGI", bpc=2)
        return buffer.getvalue()
    if kind == "jp2":
        Image.new("RGB", (8, 8)).save(buffer, "JPEG2000")
        data = bytearray(buffer.getvalue())
        data[data.index(b"\xff\x4f\xff\x51") + 42] = 11
        return bytes(data)
    tags = {256: 8, 257: 8, 258: 16, 259: 1, 262: 2, 273: 0, 277: 3, 278: 8, 279: 384}
    entries = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()]
    bits = 8 + 2 + 12 * len(tags) + 4
    entries[2] = struct.pack("<HHII", 258, 3, 3, bits)
    entries[5] = struct.pack("<HHII", 273, 4, 1, bits + 6)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + b"".join(entries) + struct.pack("<I", 0)
    return head + struct.pack("<HHH", 16, 16, 16) + pixels.astype("<u2").tobytes()


def test_an_avif_says_whether_it_has_more_than_8_bits() -> None:
    buffer = BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "AVIF")
    data = bytearray(buffer.getvalue())
    with Image.open(buffer) as picture:
        assert sixteen._bits(picture, bytes(data)) == 8
        data[data.index(b"av1C") + 6] |= 0x40
        assert sixteen._bits(picture, bytes(data)) == 10
