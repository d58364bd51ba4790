"""Orientation of image files: Pillow's, and no pixel is decoded for it."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps, PngImagePlugin

from genlab.data.files import decoding
from genlab.data.files.encoded import Encoded
from genlab.data.files.orientation import _chunk, orientation

XMP = '<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'


def exif_of(turn: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif


def png(turn: int = 1, **options: object) -> bytes:
    """A PNG twice as wide as high, of few bytes a chunk."""
    values = np.random.default_rng(0).integers(0, 256, (20, 40, 3)).astype(np.uint8)
    buffer = BytesIO()
    if turn > 1:
        options["exif"] = exif_of(turn)
    Image.fromarray(values).save(buffer, "PNG", **options)
    return buffer.getvalue()


def noted(late: bool, packed: bool, key: str = "XML:com.adobe.xmp") -> bytes:
    """A PNG with XMP, in front of its pixels or behind them."""
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt(key, XMP, zip=packed)
    plain, full = png(), png(pnginfo=notes)
    note = full[full.index(b"iTXt") - 4 :]
    note = note[: 12 + int.from_bytes(note[:4], "big")]
    at = plain.index(b"IEND") - 4 if late else plain.index(b"IDAT") - 4
    return plain[:at] + note + plain[at:]


def late_exif(turn: int) -> bytes:
    plain = png()
    chunk = _chunk(b"eXIf" + exif_of(turn).tobytes()[6:])
    return plain[: plain.index(b"IEND") - 4] + chunk + plain[plain.index(b"IEND") - 4 :]


FILES = {
    "plain": png(),
    "early": png(6),
    "late": late_exif(8),
    "xmp": noted(late=False, packed=False),
    "late packed xmp": noted(late=True, packed=True),
    "another note": noted(late=False, packed=False, key="Comment"),
}


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Formats of the images whose pixels Pillow has decoded."""
    found: list[str] = []
    load = ImageFile.ImageFile.load

    def counted(self: ImageFile.ImageFile) -> object:
        if self.tile:
            found.append(str(self.format))
        return load(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counted)
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_png_is_turned_as_pillow_turns_it_and_decoded_once(name: str, loads: list[str]) -> None:
    found = Encoded(BytesIO(FILES[name]), 3)
    assert loads == []
    pixels = found.pixels()
    assert loads == ["PNG"]
    with Image.open(BytesIO(FILES[name])) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    assert np.array_equal(pixels, expected)
    assert (found.height, found.width) == expected.shape[:2]
    assert (found.height > found.width) == (name not in ("plain", "another note"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_too_many_pixels_are_refused_undecoded(
    kind: str, loads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    buffer = BytesIO()
    Image.new("RGB", (40, 30)).save(buffer, kind)
    monkeypatch.setattr(decoding, "MOST", 1000)
    with pytest.raises(OSError, match="40 x 30 pixels, more than"):
        Encoded(BytesIO(buffer.getvalue()), 3)
    assert loads == []


def with_segments(*segments: bytes) -> bytes:
    """A JPEG twice as wide as high, with segments at its front."""
    values = np.random.default_rng(0).integers(0, 256, (20, 40, 3)).astype(np.uint8)
    buffer = BytesIO()
    Image.fromarray(values).save(buffer, "JPEG")
    return buffer.getvalue()[:2] + b"".join(segments) + buffer.getvalue()[2:]


def segment(content: bytes) -> bytes:
    return b"\xff\xe1" + (len(content) + 2).to_bytes(2, "big") + content


EXIF = segment(exif_of(6).tobytes())
ADOBE = segment(b"http://ns.adobe.com/xap/1.0/\0" + XMP.encode())
JPEGS = {
    "exif": (EXIF,),
    "xmp": (ADOBE,),
    "fill bytes": (b"\xff\xff", EXIF),
    "fill bytes after another": (segment(b"other"), b"\xff\xff\xff", EXIF),
    "plain": (segment(b"other"),),
}


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_is_turned_wherever_pillow_finds_its_orientation(name: str) -> None:
    """As XMP, and behind bytes that fill the space before a marker."""
    data = with_segments(*JPEGS[name])
    found = Encoded(BytesIO(data), 3)
    with Image.open(BytesIO(data)) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture))
    assert np.array_equal(found.pixels(), expected)
    assert (found.height > found.width) == (name != "plain")


@pytest.mark.parametrize("length", [8, 20, 40, 60])
def test_a_torn_png_is_upright(length: int) -> None:
    assert orientation(png(6)[:length]) == 1
