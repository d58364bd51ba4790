"""Images in NumPy files: bytes, 16 bits or floats, 1 to 32 channels."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from genlab.data import splits
from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.images import Images
from genlab.data.in_memory import Pictures, check_labels
from genlab.data.loader import Source
from genlab.errors import first_line, nearest

MOST_CHANNELS = 32
MOST_CLASSES = 10**6
Layout = Literal["auto", "NHW", "NHWC", "NCHW"]


class Arrays(Images):
    """Images in an array of a ``.npy`` or ``.npz`` file, in memory.

    Bytes stay bytes; 16 bits and floats become float32 in [0, 1], four bytes a number. Labels are
    whole numbers, -1 where unknown. ``index`` is the position in the array.

    Args:
        images: file of the training images, (N, H, W), (N, H, W, C) or (N, C, H, W), square.
        label: ``.npy`` file of their labels, (N,); None for the array ``labels`` of an ``.npz``
            file, or for none.
        test_images: file of the test images; None to split ``test_size`` off.
        test_label: file of theirs, as ``label``.
        key: name of the array of images in an ``.npz`` file.
        layout: order of the axes; ``auto`` where the shape leaves no doubt.
        span: [smallest, largest] value of floats, which become 0 and 1.
        test_size: like ``val_size``, without ``test_images``.
        **kwargs: arguments of `Images`.

    Raises:
        ValueError: a value out of range, or two that cannot be combined.
        MissingDataError, BrokenDataError: no such file, or one that does not fit.
    """

    def __init__(
        self,
        images: str,
        label: str | None = None,
        test_images: str | None = None,
        test_label: str | None = None,
        key: str = "images",
        layout: Layout = "auto",
        span: tuple[float, float] = (0.0, 1.0),
        test_size: int | float = 0.1,
        **kwargs: Any,
    ) -> None:
        few = kwargs.get("labels")
        if isinstance(few, str) and few.endswith((".npy", ".npz")):
            raise ValueError(
                f"labels {few!r} must be how many to train on; label names the file of all labels"
            )
        super().__init__(str(Path(images).expanduser().parent), **kwargs)
        if layout not in ("auto", "NHW", "NHWC", "NCHW"):
            raise ValueError(f"unknown layout {layout!r}; choose from auto, NHW, NHWC, NCHW")
        if not span[0] < span[1]:
            raise ValueError(f"span {list(span)} must be [smallest, largest]")
        if test_size < 0:
            raise ValueError(f"test_size {test_size} must be 0 or more")
        self.key, self.layout, self.span, self.test_size = key, layout, span, test_size
        self._files = {"train": (images, label)}
        if test_images is not None:
            self._files["test"] = test_images, test_label
        shape = self._read_shape()
        self.channels, self.image_size = shape[1], self.finish.resize or shape[2]
        self.num_classes = count_classes(load_labels(images, label))

    def sources(self) -> dict[str, Source]:
        """The images of every part in memory."""
        found = {name: self._pictures(*files) for name, files in self._files.items()}
        for name, part in found.items():
            images, label = self._files[name]
            check_labels(label or images, part.labels, len(part), max(self.num_classes, 1))
        if "test" not in found:
            rows = splits.part(
                found["train"].labels.numpy(), self.test_size, self.division.seed, "test_size"
            )
            train, test = (torch.from_numpy(part) for part in rows)
            found = {"train": found["train"].subset(train), "test": found["train"].subset(test)}
        return dict(found)

    def _read_shape(self) -> tuple[int, int, int, int]:
        shapes = {name: self._array(files[0]).shape for name, files in self._files.items()}
        first = shapes["train"]
        if any(shape[1:] != first[1:] for shape in shapes.values()):
            raise BrokenDataError(
                f"{self._files['test'][0]}: images are {shapes['test'][1:]}, "
                f"those of training {first[1:]}"
            )
        return first

    def _pictures(self, images: str, labels: str | None) -> Pictures:
        known = load_labels(images, labels)
        array = torch.from_numpy(np.ascontiguousarray(self._in_bounds(self._array(images), images)))
        return Pictures(array, None if known is None else torch.from_numpy(known))

    def _array(self, file: str) -> NDArray[Any]:
        """The images of a file, (N, C, H, W), as they are stored."""
        array = load_array(file, self.key)
        array = _with_channels(array, self.layout, file)
        count, channels, height, width = array.shape
        if height != width or not 1 <= channels <= MOST_CHANNELS or not count:
            raise BrokenDataError(
                f"{file}: {count} images of {channels} x {height} x {width}; they must be square, "
                f"with 1 to {MOST_CHANNELS} channels"
            )
        return array

    def _in_bounds(self, array: NDArray[Any], file: str) -> NDArray[Any]:
        """Bytes, or float32 in [0, 1]."""
        if array.dtype == np.uint8:  # mapped from the file, which may change; `subset` copies too
            return array.copy() if "test" in self._files else array
        if array.dtype.kind == "u" and array.dtype.itemsize == 2:  # in any order of bytes
            return array.astype(np.float32) / np.float32(65535)
        low, high = self.span
        if array.dtype.kind != "f":
            raise BrokenDataError(f"{file}: images are {array.dtype}, not uint8, uint16 or float")
        least, most = float(array.min()), float(array.max())
        if np.isnan(least):
            first = int(np.isnan(array).any((1, 2, 3)).argmax())
            raise BrokenDataError(f"{file}: image {first} contains NaN")
        if not (low <= least and most <= high):
            raise BrokenDataError(
                f"{file}: floats are in {least:g} ... {most:g}, not in {low:g} ... {high:g}; "
                "set data.span"
            )
        return ((array.astype(np.float32) - np.float32(low)) / np.float32(high - low)).clip(0, 1)


def load_labels(data: str, label: str | None) -> NDArray[np.int64] | None:
    """Labels (N,) of the data in a file; None where there are none.

    Args:
        data: file of the data, whose array ``labels`` they are if it is an ``.npz``.
        label: ``.npy`` file of labels; None for those of ``data``.

    Raises:
        MissingDataError, BrokenDataError: no such file, or not whole numbers below `MOST_CLASSES`.
    """
    if label is None and not data.endswith(".npz"):
        return None
    file = data if label is None else label
    array = load_array(file, "labels", optional=label is None)
    if array is None:
        return None
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise BrokenDataError(
            f"{file}: labels are {array.dtype} of shape {array.shape}, not whole numbers (N,)"
        )
    if len(array) and array.max() >= MOST_CLASSES:
        raise BrokenDataError(
            f"{file}: label {array.max()} is not below {MOST_CLASSES:,}; "
            "labels are numbers of classes from 0 on"
        )
    return np.asarray(array, np.int64)


def count_classes(labels: NDArray[np.int64] | None) -> int:
    """Number of classes: one more than the largest label; 0 without labels."""
    return 0 if labels is None or not len(labels) else max(int(labels.max()) + 1, 0)


def load_array(file: str, key: str, optional: bool = False) -> Any:
    """An array of a NumPy file, without running code; None if it may be missing and is.

    Raises:
        MissingDataError, BrokenDataError: no file or key, or not a NumPy file of numbers.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise MissingDataError(f"no file {path}")
    try:
        with path.open("rb") as stream:
            if stream.read(2) != b"PK":  # a zip archive's mark
                return np.load(path, mmap_mode="c", allow_pickle=False)
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as found:
                names = found.files
                if key in names:
                    return found[key]
    except (ValueError, OSError, EOFError, KeyError, BadZipFile, zlib.error) as error:
        if str(error).startswith("Object arrays"):
            raise BrokenDataError(f"{path} contains Python objects, not numbers") from None
        raise BrokenDataError(
            f"{path} is not a NumPy file of numbers: {first_line(error)}"
        ) from None
    if optional:
        return None
    raise BrokenDataError(f"{path} has no array {key!r}; {nearest(key, names)}")


def _with_channels(array: NDArray[Any], layout: Layout, file: str) -> NDArray[Any]:
    """An array as (N, C, H, W)."""
    kind = _layout(array.shape, file) if layout == "auto" else layout
    if len(kind) != array.ndim:
        raise BrokenDataError(f"{file}: an array of shape {array.shape} is not {kind}")
    if kind == "NHW":
        return array[:, None]
    return array.transpose(0, 3, 1, 2) if kind == "NHWC" else array


def _layout(shape: tuple[int, ...], file: str) -> str:
    """The order of the axes of an array of square images.

    Raises:
        BrokenDataError: not three or four axes, or more than one order fits.
    """
    if len(shape) == 3:
        return "NHW"
    fits = []
    if len(shape) == 4:
        fits += ["NHWC"] if shape[1] == shape[2] and shape[3] <= MOST_CHANNELS else []
        fits += ["NCHW"] if shape[2] == shape[3] and shape[1] <= MOST_CHANNELS else []
    if len(fits) != 1:
        why = "either NHWC or NCHW: set data.layout" if fits else "not images: (N, H, W) and more"
        raise BrokenDataError(f"{file}: an array of shape {shape} is {why}")
    return fits[0]
