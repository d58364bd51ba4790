"""Images of any size and mode as squares of bytes."""

from __future__ import annotations

import os
import threading
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from genlab.data.files import decoding
from genlab.data.files.decoding import Form, decode, flatten
from genlab.data.files.encoded import Encoded
from genlab.data.files.file_names import FileNames
from genlab.data.files.folder_scan import Listing


def stored(picture: Image.Image, kind: str) -> BytesIO:
    buffer = BytesIO()
    picture.save(buffer, kind)
    buffer.seek(0)
    return buffer


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF"])
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = stored(Image.new("L", (40, 30)), kind)
    decode(file, Form(8, 3))
    monkeypatch.setattr(decoding, "MOST", 1000)
    with pytest.raises(OSError, match="40 x 30 pixels, more than"):
        decode(file, Form(8, 3))
    file.seek(0)
    with pytest.raises(OSError, match="40 x 30 pixels, more than"):
        Encoded(file, 3).pixels()


@pytest.mark.parametrize("progressive", [False, True])
def test_the_limit_is_on_the_pixels_of_the_file_not_on_those_of_the_scale(
    progressive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A progressive JPEG takes memory for all its pixels; training and evaluation agree."""
    buffer = BytesIO()
    Image.new("RGB", (400, 400), "red").save(buffer, "JPEG", progressive=progressive)
    assert decode(BytesIO(buffer.getvalue()), Form(20, 3)).shape == (3, 20, 20)
    assert Encoded(BytesIO(buffer.getvalue()), 3).pixels(8).shape == (50, 50, 3)
    monkeypatch.setattr(decoding, "MOST", 12_000)
    for look in (lambda file: decode(file, Form(20, 3)), lambda file: Encoded(file, 3)):
        with pytest.raises(OSError, match="400 x 400 pixels, more than"):
            look(BytesIO(buffer.getvalue()))


def test_large_images_are_decoded_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    file = stored(Image.new("L", (40, 30)), "PNG").getvalue()
    monkeypatch.setattr(decoding, "LARGE", 1000)
    done: list[bool] = []

    def work() -> None:
        done.append(bool(decode(BytesIO(file), Form(8, 1)).any()))

    with decoding._alone:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(0.1)
        assert not done
    thread.join(20)
    assert done == [False]


def test_pipes_and_devices_are_no_images(tmp_path: Path) -> None:
    """Opening a pipe would wait for a writer, and /dev/zero has no end."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "zero.png").symlink_to("/dev/zero")
    for name, kind in (("pipe.png", "a pipe"), ("zero.png", "a device")):
        with pytest.raises(OSError, match=f"it is {kind}, not a file"):
            decode(tmp_path / name, Form(8, 3))
        with pytest.raises(OSError, match=f"it is {kind}, not a file"):
            Encoded(tmp_path / name, 3)


def looks(file: Path) -> list[Callable[[], object]]:
    """The ways in which a file is read: to train, to evaluate, to pack."""
    listing = Listing(FileNames.of([file]), np.zeros(1, np.int64))
    return [
        lambda: Encoded(file, 3),
        lambda: decode(file, Form(8, 3)),
        lambda: listing.reader()(0),
    ]


def test_a_large_file_that_is_no_image_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "x.jpg"
    file.touch()
    os.truncate(file, 32 * 2**20)
    for look in looks(file):
        tracemalloc.start()
        with pytest.raises(UnidentifiedImageError):
            look()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**20


def test_a_file_of_too_many_bytes_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "x.jpg"
    Image.new("RGB", (8, 8)).save(file)
    os.truncate(file, decoding.MOST_BYTES + 1)  # a hole behind the image
    for look in looks(file):
        with pytest.raises(OSError, match="bytes, more than 1,024 million"):
            look()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_are_white_whatever_the_height(mode: str) -> None:
    """Strips give the bytes that one layer over the whole image gives."""
    values = np.random.default_rng(0).integers(0, 256, (600, 9, 4)).astype(np.uint8)
    picture = Image.fromarray(values).convert(mode)
    if mode == "P":
        picture.info["transparency"] = 3
    layer = picture.convert("RGBA")
    whole = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    for channels in ("RGB", "L"):
        expected, found = whole.convert(channels), flatten(picture).convert(channels)
        assert np.array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("top", [1.0, 200.0, 60_000.0])
def test_32_bits_become_8(top: float) -> None:
    values = (np.random.default_rng(0).random((30, 20)) * top).astype(np.float32)
    values[0, 0] = top
    scale = {1.0: 1, 200.0: 255, 60_000.0: 65535}[top]
    expected = (values.astype(np.float64) * (255 / scale)).round()
    assert np.array_equal(np.asarray(flatten(Image.fromarray(values))), expected)
