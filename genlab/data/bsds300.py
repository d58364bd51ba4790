"""Patches of natural photographs: BSDS300 as 63-dimensional vectors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from genlab.augment import draws
from genlab.data.errors import BrokenDataError, MissingDataError
from genlab.data.images import Images
from genlab.data.in_memory import Pictures
from genlab.data.loader import Batch, Source
from genlab.data.vectors import refuse_pixels

SIDE = 8  # pixels of a patch, each way
DIM = SIDE * SIDE - 1
PHOTOGRAPHS = {"train": 200, "test": 100}
SEEDS = {"train": 1, "val": 2, "test": 3}  # of the patches
STREAM = 300  # of the noise among the draws of a batch


class BSDS300(Images):
    """Grey patches of 8 x 8 pixels at random places of photographs, as vectors of 63 numbers.

    ``image`` is (B, 63, 1, 1), see `Vectors`: (byte + u) / 256 with u uniform in [0, 1), less the
    patch's mean, without the last pixel. Log-densities are in nats in these units. Training
    patches have fresh noise in every batch. Test patches and their noise are always the same, for
    every method and seed: a full Gaussian fitted to training patches gives about 96 nats on them.
    Training photographs are several nats easier than test photographs; whole photographs are
    therefore held out for validation.

    Args:
        patches: number of training patches, drawn once.
        held_out: number of validation patches.
        test_patches: number of test patches.
        val_size: photographs held out for validation, a count or a fraction; 0 for none.
        **kwargs: arguments of `Images`, except those that `Vectors` refuses; ``limit`` counts
            patches, and ``folds`` divides photographs.

    Raises:
        ValueError: a value out of range, or an argument for pixels.
        MissingDataError, BrokenDataError: no photographs, or not 200 for training and 100 for test.

    Source: Martin, Fowlkes, Tal, Malik 2001 (the photographs); Zoran & Weiss 2011, Uria, Murray,
    Larochelle 2013 (RNADE) and Papamakarios, Pavlakou, Murray 2017 (MAF), arXiv:1705.07057, whose
    patches these are not: theirs are one file of 1 M, 50 k and 250 k vectors whose validation
    patches are of training photographs and whose noise is frozen. Grey is ITU-R 601's luma.
    """

    channels, image_size, num_classes = DIM, 1, 0

    def __init__(
        self,
        patches: int = 1_000_000,
        held_out: int = 50_000,
        test_patches: int = 100_000,
        val_size: int | float = 0.1,
        **kwargs: Any,
    ) -> None:
        refuse_pixels(kwargs)
        if min(patches, held_out, test_patches) < 1:
            raise ValueError(
                f"patches {patches}, held_out {held_out} and test_patches {test_patches} "
                "must be at least 1"
            )
        super().__init__(val_size=val_size, **kwargs)
        self.counts = {"train": patches, "val": held_out, "test": test_patches}

    def sources(self) -> dict[str, Source]:
        """Training patches as bytes; validation and test patches as vectors."""
        photographs = {part: self._photographs(part) for part in PHOTOGRAPHS}
        stay, held = self.division.hold_out(np.full(len(photographs["train"]), -1))
        own = {
            "train": [photographs["train"][i] for i in stay],
            "val": [photographs["train"][i] for i in held],
            "test": photographs["test"],
        }
        found = {"train": self._patches(own["train"], "train")}
        for part in ("val", "test"):
            every = self._patches(own[part], part) if own[part] else found["train"].subset(NONE)
            noise = torch.Generator().manual_seed(SEEDS[part])
            uniform = torch.rand(every.images.shape, generator=noise)
            found[part] = Pictures(vectors(every.images, uniform), index=every.index)
        return dict(found)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn bytes into vectors: (B, 1, 8, 8) -> (B, 63, 1, 1).

        Training noise is drawn by the batch's seed, for the global batch; in evaluation a training
        patch always has the same.
        """
        if batch["image"].shape[1:] != (1, SIDE, SIDE):
            return super().on_after_batch_transfer(batch, dataloader_idx)
        drawn = draws.for_images(_noise, batch, "seed" in batch, STREAM)  # type: ignore[arg-type]
        return {**batch, "image": vectors(batch["image"], drawn["noise"])}

    def _patches(self, photographs: Sequence[NDArray[np.uint8]], part: str) -> Pictures:
        """Patches at random places, always the same: (N, 1, 8, 8) bytes."""
        count, generator = self.counts[part], torch.Generator().manual_seed(SEEDS[part])
        which = torch.randint(len(photographs), (count,), generator=generator).numpy()
        place = torch.rand(count, 2, generator=generator, dtype=torch.float64).numpy()
        found = np.empty((count, 1, SIDE, SIDE), np.uint8)
        for number, photograph in enumerate(photographs):
            rows = np.flatnonzero(which == number)
            windows = sliding_window_view(photograph, (SIDE, SIDE))
            top, left = (place[rows] * windows.shape[:2]).astype(np.int64).T
            found[rows, 0] = windows[top, left]
        return Pictures(torch.from_numpy(found))

    def _photographs(self, part: str) -> list[NDArray[np.uint8]]:
        folder = self.root / "BSDS300" / "images" / part
        files = sorted(folder.glob("*.jpg"))
        if not files:
            raise MissingDataError(
                f"BSDS300 not found: no photographs in {folder}\n"
                "unpack BSDS300-images there, "
                "or name the folder that holds BSDS300 with data.root=DIR or GENLAB_DATA=DIR"
            )
        if len(files) != PHOTOGRAPHS[part]:
            raise BrokenDataError(
                f"{folder}: {len(files)} photographs; BSDS300 has {PHOTOGRAPHS[part]}"
            )
        return [_grey(file) for file in files]


NONE = torch.zeros(0, dtype=torch.int64)


def vectors(patches: Tensor, noise: Tensor) -> Tensor:
    """Dequantised patches less their means, without the last pixel.

    Args:
        patches: (N, 1, 8, 8) uint8.
        noise: (N, 1, 8, 8) in [0, 1).

    Returns:
        (N, 63, 1, 1) float32.
    """
    x = (patches.flatten(1).float() + noise.flatten(1)) / 256
    return (x - x.mean(1, keepdim=True))[:, :-1, None, None].contiguous()


def _noise(shape: tuple[int, ...], generator: torch.Generator) -> dict[str, Tensor]:
    return {"noise": draws.uniform(shape, 0.0, 1.0, generator)}


def _grey(file: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as photograph:
            grey = np.asarray(photograph.convert("L"))
    except OSError as error:
        raise BrokenDataError(f"{file} is not a photograph: {error}") from None
    if min(grey.shape) < SIDE:
        raise BrokenDataError(f"{file}: {grey.shape} pixels are fewer than a patch's")
    return grey
