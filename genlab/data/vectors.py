"""Vectors in NumPy files, and what all data sets of vectors share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from genlab.data import splits
from genlab.data.arrays import count_classes, load_array, load_labels
from genlab.data.errors import BrokenDataError
from genlab.data.images import Images
from genlab.data.in_memory import Pictures, check_labels
from genlab.data.loader import Source

OF_PIXELS = ("augment", "views", "resize", "labels")  # arguments of `Images`
MOST = float(np.finfo(np.float32).max)


class Vectors(Images):
    """Vectors in an array of a ``.npy`` or ``.npz`` file, in memory as float32.

    A vector is an image of D channels and one pixel: ``image`` is (B, D, 1, 1), as the points of
    `Toys` are. Whatever takes any number of channels takes vectors: flows with dense networks
    (``preprocess: none``), WGAN-GP and VAE with an ``mlp``, plans, laws, checkpoints. Image grids
    lay the numbers of a vector out in a square. Networks and feature extractors of images refuse
    vectors by the number of channels; augmentation and views are refused here.

    Numbers keep the file's units, so ``image`` is not within [0, 1], and a log-density is in nats
    per unit. Scaling belongs to the model, which counts its log-determinant (``whiten`` of flows).

    Args:
        vectors: file of the training vectors, (N, D), of numbers or of true and false.
        label: ``.npy`` file of their labels, (N,); None for the array ``labels`` of an ``.npz``
            file, or for none.
        val_vectors: file of the validation vectors, which refuses ``folds``; None to split
            ``val_size`` off.
        test_vectors: file of the test vectors; None to split ``test_size`` off.
        val_label: file of the validation vectors' labels, as ``label``.
        test_label: file of the test vectors' labels, as ``label``.
        key: name of the array of vectors in an ``.npz`` file.
        test_size: like ``val_size``, without ``test_vectors``.
        **kwargs: arguments of `Images`, except ``augment``, ``views``, ``resize``, ``labels`` and
            ``binarize``.

    Raises:
        ValueError: a value out of range, or an argument for pixels.
        MissingDataError, BrokenDataError: no such file, or one that does not fit.
    """

    image_size = 1

    def __init__(
        self,
        vectors: str,
        label: str | None = None,
        val_vectors: str | None = None,
        test_vectors: str | None = None,
        val_label: str | None = None,
        test_label: str | None = None,
        key: str = "vectors",
        test_size: int | float = 0.1,
        **kwargs: Any,
    ) -> None:
        refuse_pixels(kwargs)
        super().__init__(str(Path(vectors).expanduser().parent), **kwargs)
        if test_size < 0:
            raise ValueError(f"test_size {test_size} must be 0 or more")
        self.key, self.test_size = key, test_size
        self._files = {"train": (vectors, label)}
        if val_vectors is not None:
            self.division.refuse_folds("val_vectors")
            self._files["val"] = val_vectors, val_label
        if test_vectors is not None:
            self._files["test"] = test_vectors, test_label
        widths = {name: self._array(files[0]).shape[1] for name, files in self._files.items()}
        self.channels = widths["train"]
        for name, width in widths.items():
            if width != self.channels:
                raise BrokenDataError(
                    f"{self._files[name][0]}: vectors have {width} numbers, "
                    f"those of training {self.channels}"
                )
        self.num_classes = count_classes(load_labels(vectors, label))

    def sources(self) -> dict[str, Source]:
        """The vectors of every part in memory."""
        found = {name: self._read(*files) for name, files in self._files.items()}
        if "test" not in found:
            whole = found["train"]
            rows = splits.part(
                whole.labels.numpy(), self.test_size, self.division.seed, "test_size"
            )
            train, test = (torch.from_numpy(part) for part in rows)
            found |= {"train": whole.subset(train), "test": whole.subset(test)}
        return dict(found)

    def _read(self, file: str, label: str | None) -> Pictures:
        array = self._array(file)
        sizes = np.abs(np.where(np.isfinite(array), array, np.inf)).max(1)
        if (wrong := np.flatnonzero(sizes > MOST)).size:
            raise BrokenDataError(f"{file}: vector {wrong[0]} has a number that is not finite")
        labels = load_labels(file, label)
        known = None if labels is None else torch.from_numpy(labels)
        found = Pictures(as_images(array), known)
        check_labels(label or file, found.labels, len(found), max(self.num_classes, 1))
        return found

    def _array(self, file: str) -> NDArray[Any]:
        """The vectors of a file, (N, D), as they are stored."""
        array: NDArray[Any] = load_array(file, self.key)
        if array.ndim != 2 or not array.size or array.dtype.kind not in "biuf":
            raise BrokenDataError(
                f"{file}: an array of {array.dtype} of shape {array.shape} is not vectors (N, D)"
            )
        return array


def as_images(array: NDArray[Any]) -> torch.Tensor:
    """Vectors (N, D) as images of D channels and one pixel: (N, D, 1, 1) float32."""
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))[:, :, None, None]


def refuse_pixels(options: dict[str, Any]) -> None:
    """Refuse arguments of `Images` that mean pixels, for data without any.

    Raises:
        ValueError: one of them is given.
    """
    given = [name for name in OF_PIXELS if options.get(name) is not None]
    given += ["binarize"] * (options.get("binarize", "none") != "none")
    if given:
        raise ValueError(f"{given[0]} requires images, and vectors are none: leave it out")
