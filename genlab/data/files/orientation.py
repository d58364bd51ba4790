"""The orientation that an image file states, read without its pixels."""

from __future__ import annotations

import zlib
from io import BytesIO

from PIL import Image

JPEG = b"\xff\xd8\xff"
PNG = b"\x89PNG\r\n\x1a\n"
NOTES = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # chunks of a PNG that may state it
MARKS = (b"Exif\0\0", b"tiff:Orientation")  # in a JPEG that states it, as EXIF or as XMP
ORIENTATION = 0x0112  # EXIF's tag


def orientation(data: bytes) -> int:
    """EXIF's orientation as Pillow finds it, 1 to 8; 1 is upright.

    Args:
        data: content of the file.
    """
    if data.startswith(PNG):
        data = _notes(data)
    elif data.startswith(JPEG) and not any(mark in data for mark in MARKS):
        return 1
    if not data:
        return 1
    try:
        with Image.open(BytesIO(data)) as picture:  # a PNG's own getexif decodes the pixels
            turn = Image.Image.getexif(picture).get(ORIENTATION, 1)
    except Exception:  # damaged metadata make Pillow raise nearly anything
        return 1
    return turn if turn in range(1, 9) else 1


def _notes(data: bytes) -> bytes:
    """A PNG's size and what is noted about it, as a PNG without pixels; empty if nothing is."""
    found, at = [], len(PNG)
    while at + 8 <= len(data) and (kind := data[at + 4 : at + 8]) not in (b"fdAT", b"IEND"):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"IHDR" or kind in NOTES:
            found.append(_chunk(data[at + 4 : end]))
        at = end + 4  # behind the checksum
    return PNG + b"".join([*found, _chunk(b"IDAT")]) if len(found) > 1 else b""


def _chunk(content: bytes) -> bytes:
    """A PNG's chunk of a kind's four bytes and what follows them."""
    length, checksum = len(content) - 4, zlib.crc32(content)
    return length.to_bytes(4, "big") + content + checksum.to_bytes(4, "big")
