"""Images a second that one core of this machine gets ready, measured with genlab's own reader."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from genlab import recipes
from genlab.data import ImageFolder
from genlab.data.encoded_images import BITS, MEMORY, EncodedImages
from genlab.data.in_memory import Pictures
from genlab.data.loader import TrainLoader
from genlab.planning.length import arguments
from genlab.recipes import Recipe

SIZE, QUALITY = (500, 375), 90  # of ImageNet's files in the mean
FILES, BATCH, ROWS = 32, 32, 4096
DETAIL = 1.05  # exponent of the made images' spectrum: 110 kB a file, ImageNet's mean
MOST_WORKERS = 8  # that genlab starts by itself, see `EncodedImages`
OWN = ("image_size", "channels", "crop_ratio", "views", "augment", "dtype")  # what decides


@dataclass(frozen=True)
class Loading:
    """Speed of a loader on one core.

    Args:
        images_per_second: speed of one core here.
        kind: kind of images that were read.
        workers: processes that decode for each GPU as the recipe says; None for as many as there
            are cores, at most `MOST_WORKERS`; 0 where the training's own process reads.
    """

    images_per_second: float
    kind: str
    workers: int | None

    def cores(self, given: float | None) -> float:
        """Cores that get images ready for a GPU, of those that it has."""
        if self.workers == 0:
            return 1
        most = MOST_WORKERS if self.workers is None else self.workers
        return most if given is None else min(given, most)


def measure(recipe: Recipe, images: int | None = None, seconds: float = 1.0) -> Loading | None:
    """Speed of the loader of a recipe's data; None for data that are not genlab's images.

    Args:
        recipe: a resolved one; its data need not be here.
        images: number of training images; None where unknown.
        seconds: time that reading may take.
    """
    kind: type = recipes.load_class(str(recipe.config["data"]["class_path"]), object)
    given = arguments(recipe)
    if issubclass(kind, EncodedImages) and not _in_memory(given, images):
        if given.get("decode") == "gpu":
            return None
        return Loading(_files(given, seconds), f"JPEG files of {SIZE[0]} x {SIZE[1]}",
                       given.get("workers"))  # fmt: skip
    shape = _shape(kind, given)
    return None if shape is None else Loading(_rows(shape, seconds), "rows in memory", 0)


def _in_memory(given: dict[str, Any], images: int | None) -> bool:
    """True where `EncodedImages` decodes everything once."""
    if given.get("in_memory") is not None or images is None:
        return bool(given.get("in_memory"))
    augment = given.get("augment") or {}
    cut = given.get("views") or augment.get("crop") or augment.get("translate")
    size = images * int(given["channels"]) * int(given["image_size"]) ** 2
    return not cut and size * BITS[str(given["dtype"])] // 8 <= MEMORY


def _shape(kind: type, given: dict[str, Any]) -> tuple[int, int, int] | None:
    """Shape of an image in memory, as far as class or arguments say it."""
    side = given.get("image_size") or getattr(kind, "image_size", None)
    channels = given.get("channels") or getattr(kind, "channels", None)
    if not isinstance(side, int) or not isinstance(channels, int):
        return None
    return channels, side, side


def _rows(shape: tuple[int, int, int], seconds: float) -> float:
    images = torch.randint(256, (ROWS, *shape), dtype=torch.uint8)
    loader = TrainLoader(Pictures(images), torch.arange(ROWS), 4 * BATCH, seed=0)
    return _rate(loader, seconds)


def _files(given: dict[str, Any], seconds: float) -> float:
    with tempfile.TemporaryDirectory() as folder:
        for number in range(FILES):
            (Path(folder) / f"{number}.jpg").write_bytes(photograph(number))
        own = {name: given[name] for name in OWN if given.get(name) is not None}
        data = ImageFolder(
            folder, batch_size=BATCH, val_size=0, test_size=0, workers=0, in_memory=False, **own
        )
        data.setup()
        return _rate(data.train_dataloader(), seconds)


def _rate(loader: Any, seconds: float) -> float:
    """Images of a loader a second of this process's CPU time."""
    batches, count = _endless(loader), 0
    next(batches)  # what the first batch sets up does not count
    start = time.process_time()
    while (passed := time.process_time() - start) < seconds or not count:
        count += len(next(batches)["index"])
    return count / passed if passed else float(count)


def _endless(loader: Any) -> Iterator[dict[str, Any]]:
    while True:
        yield from loader


def photograph(number: int) -> bytes:
    """A JPEG with the spectrum of a photograph: there is none in genlab.

    Args:
        number: seed.
    """
    random = np.random.default_rng(number)
    width, height = SIZE
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    falling = np.maximum(np.hypot(rows, columns), 1 / width) ** -DETAIL
    planes = []
    for _ in range(3):
        phases = np.exp(2j * np.pi * random.random(falling.shape))
        plane = np.fft.irfft2(falling * phases, (height, width))
        planes.append(plane / plane.std())
    grey = planes[0]
    colour = np.stack([grey + 0.2 * plane for plane in planes], 2)
    pixels = (128 + 50 * colour).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
