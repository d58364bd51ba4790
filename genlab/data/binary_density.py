"""Eleven sets of binary vectors on which density estimators are compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.images import Images
from genlab.data.in_memory import Pictures
from genlab.data.loader import Source
from genlab.data.vectors import as_images, refuse_pixels


class Size(NamedTuple):
    """Numbers of variables and of vectors of a set."""

    dim: int
    train: int
    val: int
    test: int


SETS = {
    "accidents": Size(111, 12758, 1700, 2551), "baudio": Size(100, 15000, 2000, 3000),
    "bbc": Size(1058, 1670, 225, 330), "bnetflix": Size(100, 15000, 2000, 3000),
    "dna": Size(180, 1600, 400, 1186), "jester": Size(100, 9000, 1000, 4116),
    "mushrooms": Size(112, 2000, 500, 5624), "nips": Size(500, 400, 100, 1240),
    "nltcs": Size(16, 16181, 2157, 3236), "plants": Size(69, 17412, 2321, 3482),
    "pumsb_star": Size(163, 12262, 1635, 2452),
}  # fmt: skip
PARTS = {"train": "train", "val": "valid", "test": "test"}  # split -> name in the files


class BinaryDensity(Images):
    """Binary vectors in the division that published tables use: train, valid, test.

    ``image`` is (B, D, 1, 1), of 0 and 1; see `Vectors`. Log-probabilities are in nats per vector,
    without dequantisation. Rows that repeat, also between the parts, belong to the sets.

    Args:
        kind: name of the set: ``accidents``, ``baudio``, ``bbc``, ``bnetflix``, ``dna``,
            ``jester``, ``mushrooms``, ``nips``, ``nltcs``, ``plants`` or ``pumsb_star``.
        **kwargs: arguments of `Images`, except those that `Vectors` refuses; ``folds`` is
            refused, and ``val_size`` has no effect.

    Raises:
        ValueError: an unknown name, or an argument for pixels.
        MissingDataError, BrokenDataError: no such file, or one of another size.

    Source: Lowd & Davis 2010, Van Haaren & Davis 2012, Larochelle & Murray 2011; files
    ``density/KIND/KIND.train.data`` of UCLA-StarAI/Density-Estimation-Datasets.
    """

    image_size, num_classes = 1, 0

    def __init__(self, kind: str = "nltcs", **kwargs: Any) -> None:
        if kind not in SETS:
            raise ValueError(f"unknown kind {kind!r}; choose from {', '.join(SETS)}")
        refuse_pixels(kwargs)
        super().__init__(**kwargs)
        self.division.refuse_folds(type(self).__name__)
        self.kind, self.channels = kind, SETS[kind].dim

    def sources(self) -> dict[str, Source]:
        """The three parts."""
        return {part: Pictures(as_images(self._read(part))) for part in PARTS}

    def _read(self, part: str) -> NDArray[np.uint8]:
        file = self.root / "density" / self.kind / f"{self.kind}.{PARTS[part]}.data"
        size = SETS[self.kind]
        found = _binary(file)
        if found.shape != (getattr(size, part), size.dim):
            raise BrokenDataError(
                f"{file}: {found.shape[0]} vectors of {found.shape[1]} numbers; "
                f"{self.kind} has {getattr(size, part)} of {size.dim}"
            )
        return found


def _binary(file: Path) -> NDArray[np.uint8]:
    """Lines of 0 and 1 between commas: (N, D).

    Raises:
        MissingDataError, BrokenDataError: no such file, or another content.
    """
    if not file.is_file():
        raise MissingDataError(
            f"BinaryDensity not found: no file {file}\n"
            "put the sets of UCLA-StarAI/Density-Estimation-Datasets in density/ there, "
            "or name the folder that holds density/ with data.root=DIR or GENLAB_DATA=DIR"
        )
    rows = file.read_bytes().split()
    widths = {len(row) for row in rows}
    text = np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1) if rows else None
    if text is None or len(widths) != 1 or not (text[:, 1::2] == ord(",")).all():
        raise BrokenDataError(f"{file}: lines are not equally many 0 and 1 between commas")
    bits = text[:, ::2] - ord("0")
    if not text.shape[1] % 2 or bits.max() > 1:
        raise BrokenDataError(f"{file}: lines are not equally many 0 and 1 between commas")
    return bits
