"""Images as their files hold them: the size first, then the pixels at the scale that is needed."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import IO, Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from genlab.data.files.decoding import check_file, check_pixels, converted, room_for
from genlab.data.files.orientation import JPEG, orientation
from genlab.data.files.sixteen import sixteen, widened

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
END = b"\xff\xd9"  # of a JPEG
SCALES = (8, 4, 2, 1)  # by which a JPEG is decoded smaller at a fraction of the cost
COLOURS = ("Gray", "YCbCr", "RGB")  # of a JPEG that is not meant for print


class Encoded:
    """An image file: its size when upright, and its pixels.

    JPEGs are decoded by libjpeg-turbo (`simplejpeg`), whose pixels are Pillow's; all else, and
    JPEGs with four inks, by Pillow.

    Args:
        source: path of a file, or the opened file.
        channels: 1 for grey, 3 for colour, 4 with transparency; see `decoding.converted`.
        bits: 8 or 16 a channel, see `sixteen`.

    Raises:
        OSError: not an image, or one of too many pixels. Pillow raises other kinds too for
            damaged files.
    """

    def __init__(self, source: Path | IO[bytes], channels: int, bits: int = 8) -> None:
        if isinstance(source, Path):
            check_file(source)
        self.data = source.read_bytes() if isinstance(source, Path) else source.read()
        self.channels, self.bits = channels, bits
        self.height = self.width = 0
        self._jpeg = self.data.startswith(JPEG) and self._read_header()
        kind = "JPEG" if self._jpeg else self._open()
        check_pixels(self.width, self.height)
        self._turn = 1 if kind == "TIFF" else orientation(self.data)  # Pillow turns a TIFF itself
        if self._turn >= 5:  # turned by a quarter
            self.height, self.width = self.width, self.height

    def _read_header(self) -> bool:
        """True if libjpeg-turbo is to decode it; sets the size as stored."""
        try:
            self.height, self.width, colours, _ = simplejpeg.decode_jpeg_header(self.data)
        except ValueError:  # damaged: Pillow has the last word
            return False
        return colours in COLOURS

    def _open(self) -> str | None:
        """The format; sets the size as stored, of a TIFF when upright."""
        with Image.open(BytesIO(self.data)) as picture:
            self.width, self.height = picture.size
            return picture.format

    @property
    def is_upright_jpeg(self) -> bool:
        """True for a JPEG that needs no turn and has its end."""
        return self._jpeg and self._turn == 1 and self.data.rstrip(b"\0").endswith(END)

    def scale_for(self, need: float) -> int:
        """The largest scale at which lengths can be divided by ``need``: 1, and 2, 4, 8 for JPEG.

        Args:
            need: full pixels for each one that is wanted, along the side where they are fewest.
        """
        return next((s for s in SCALES if s <= need), 1) if self._jpeg else 1

    def pixels(self, scale: int = 1) -> Pixels:
        """(h, w, C) values of 8 or 16 bits, upright.

        h and w are the full ones divided by ``scale``, rounded up.

        Raises:
            OSError: a damaged image; Pillow raises other kinds too.
        """
        if self.bits == 16 and not self.data.startswith(JPEG):
            return sixteen(self.data, self.channels, self._upright)
        found = self._decoded(scale) if self._jpeg else self._by_pillow(scale)
        return found if self.bits == 8 else widened(found)

    def _by_pillow(self, scale: int) -> NDArray[np.uint8]:
        with Image.open(BytesIO(self.data)) as picture:
            width, height = (max(1, side // scale) for side in picture.size)
            picture.draft("L" if self.channels == 1 else "RGB", (width, height))  # of a JPEG
            with room_for(picture):
                ImageOps.exif_transpose(picture, in_place=True)
                plain = converted(picture, self.channels)
        return np.array(plain).reshape(plain.height, plain.width, self.channels)

    def _decoded(self, scale: int) -> NDArray[np.uint8]:
        colour = {1: "GRAY", 3: "RGB", 4: "RGBA"}[self.channels]
        least = {}
        if scale > 1:
            sides = (self.height, self.width)
            stored = sides[::-1] if self._turn >= 5 else sides
            least = {"min_height": -(-stored[0] // scale), "min_width": -(-stored[1] // scale)}
        try:
            pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(self.data, colour, **least)
        except ValueError:  # damaged: Pillow has the last word, at every scale
            return self._by_pillow(scale)
        return np.ascontiguousarray(self._upright(pixels))

    def _upright(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """Undo the EXIF orientation."""
        turn = self._turn
        if turn in (5, 7):
            pixels = pixels.transpose(1, 0, 2)
        if turn in (6, 8):
            pixels = np.rot90(pixels, 3 if turn == 6 else 1)
        if turn in (3, 4, 7):
            pixels = pixels[::-1]
        return pixels[:, ::-1] if turn in (2, 3, 7) else pixels
