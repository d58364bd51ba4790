"""The centre square of an image, as evaluation sees it, in 8 or 16 bits."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from genlab.data.files.decoding import Form, decode, frame
from genlab.data.files.encoded import Encoded
from genlab.data.files.sixteen import MOST


def centre(source: Path | IO[bytes], form: Form) -> NDArray[Any]:
    """An image upright, its shorter side scaled, its centre square, (C, size, size).

    Args:
        source: path of a file, or the opened file.
        form: size, channels and bits of the result.

    Returns:
        uint8 of 8 bits, uint16 of 16.

    Raises:
        OSError: see `decoding.decode` and `encoded.Encoded`.
    """
    if form.bits == 8:
        return decode(source, form)
    encoded = Encoded(source, form.channels, form.bits)
    least = 2 * round(form.size / form.crop_ratio)  # pixels that are wanted of a JPEG
    pixels = encoded.pixels(encoded.scale_for(min(encoded.height, encoded.width) / least))
    size, box = frame((pixels.shape[1], pixels.shape[0]), form)
    bands = [Image.fromarray(band.astype(np.float32)) for band in pixels.transpose(2, 0, 1)]
    if size != bands[0].size:
        scaled = (b.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0) for b in bands)
        bands = list(scaled)
    values = np.stack([np.asarray(band.crop(box)) for band in bands])
    return values.round().clip(0, MOST).astype(np.uint16)
