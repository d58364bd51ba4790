"""Frey Faces: frames of a film of one face, as vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genlab.data.arrays import load_array
from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.images import Images
from genlab.data.in_memory import Pictures
from genlab.data.loader import Source
from genlab.data.vectors import refuse_pixels

FRAMES, HEIGHT, WIDTH = 1965, 28, 20
PARTS = {"train": 1565, "val": 200, "test": 200}
SEED = 0


class FreyFaces(Images):
    """1,965 grey frames of 28 x 20 pixels, which are not square, as vectors of 560 numbers.

    ``image`` is (B, 560, 1, 1) in [0, 1], multiples of 1/255; see `Vectors`. Grids show frames.
    1,565 frames are for training, 200 for validation and 200 for the test, of one seeded shuffle;
    neighbours in the film are alike, so that test frames have near duplicates in training. Papers
    have the same sizes, and other shuffles.

    Args:
        **kwargs: arguments of `Images`, except those that `Vectors` refuses; ``folds`` is
            refused, and ``val_size`` has no effect.

    Raises:
        ValueError: an argument for pixels.
        MissingDataError, BrokenDataError: no such file, or another content.

    Source: B. Frey and S. Roweis; file ``frey_faces/frey_faces.npz`` with ``images`` (1965, 28, 20)
    uint8.
    """

    channels, image_size, num_classes = HEIGHT * WIDTH, 1, 0
    picture_shape = (1, HEIGHT, WIDTH)

    def __init__(self, **kwargs: Any) -> None:
        refuse_pixels(kwargs)
        super().__init__(**kwargs)
        self.division.refuse_folds(type(self).__name__)

    def sources(self) -> dict[str, Source]:
        """The three parts; ``index`` is the place in the film."""
        frames = torch.from_numpy(self._frames().reshape(FRAMES, -1, 1, 1).copy())
        order = torch.randperm(FRAMES, generator=torch.Generator().manual_seed(SEED))
        rows = dict(zip(PARTS, order.split(list(PARTS.values())), strict=True))
        return {part: Pictures(frames[own], index=own) for part, own in rows.items()}

    def _frames(self) -> NDArray[np.uint8]:
        file = self.root / "frey_faces" / "frey_faces.npz"
        if not Path(file).is_file():
            raise MissingDataError(
                f"FreyFaces not found: no file {file}\n"
                "put an .npz file with images (1965, 28, 20) uint8 there, "
                "or name the folder that holds frey_faces/ with data.root=DIR or GENLAB_DATA=DIR"
            )
        found: NDArray[np.uint8] = load_array(str(file), "images")
        if found.shape != (FRAMES, HEIGHT, WIDTH) or found.dtype != np.uint8:
            raise BrokenDataError(
                f"{file}: images are {found.shape} {found.dtype}, "
                f"not {(FRAMES, HEIGHT, WIDTH)} uint8"
            )
        return found
