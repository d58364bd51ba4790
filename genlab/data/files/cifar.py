"""CIFAR's python batches, read with a restricted unpickler.

Needed where the files are copies whose checksums differ from the original's: a pickle from an
unknown hand may call anything.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genlab.data.errors import BrokenDataError
from genlab.errors import first_line

ALLOWED = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy._core.numeric", "_frombuffer"),
    ("numpy.core.numeric", "_frombuffer"),
    ("_codecs", "encode"),  # how protocol 2 writes bytes
}


class ArrayUnpickler(pickle.Unpickler):
    """Builds arrays and plain containers; refuses every other name."""

    def find_class(self, module: str, name: str) -> Any:
        """The named object, if it is one that arrays are made of."""
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which could run code")
        return super().find_class(module, name)


def read(files: list[Path], label_key: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images (N, 3, 32, 32) and labels (N,) of several batch files.

    Raises:
        BrokenDataError: truncated, of another form, or containing more than arrays.
    """
    parts = [_read_one(file, label_key) for file in files]
    images, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return images, labels


def _read_one(file: Path, label_key: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        with file.open("rb") as stream:
            content = ArrayUnpickler(stream, encoding="latin1").load()
        images = np.asarray(content["data"], dtype=np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(content[label_key], dtype=np.int64)
    except Exception as error:  # a damaged pickle can fail in any way
        raise BrokenDataError(f"{file} cannot be read: {first_line(error)}") from None
    if len(images) != len(labels):
        raise BrokenDataError(f"{file} contains {len(images)} images but {len(labels)} labels")
    return images, labels
