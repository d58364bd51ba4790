"""Order of the training images in an epoch."""

from __future__ import annotations

import torch
from torch import Tensor

SAMPLING = ("uniform", "balanced")


def epoch_order(sampling: str, labels: Tensor, seed: int) -> Tensor:
    """Positions 0 ... N - 1 of one epoch, N of them, fixed by the seed.

    Args:
        sampling: ``uniform``: every image once; ``balanced``: with replacement, every class with
            the same probability whatever its size, every image of a class too.
        labels: (N,) int64, -1 where unknown; such images are never drawn when balanced.
        seed: seed of this epoch.
    """
    generator = torch.Generator().manual_seed(seed)
    if sampling == "uniform":
        return torch.randperm(len(labels), generator=generator)
    known = (labels >= 0).nonzero()[:, 0]
    by_class = known[labels[known].argsort(stable=True)]
    counts = labels[known].unique(return_counts=True)[1]  # of the classes that occur
    drawn = torch.randint(len(counts), (len(labels),), generator=generator)
    within = torch.rand(len(labels), dtype=torch.float64, generator=generator) * counts[drawn]
    return by_class[(counts.cumsum(0) - counts)[drawn] + within.long()]


def evenly(rows: Tensor, labels: Tensor, most: int) -> Tensor:
    """At most ``most`` of the rows (N,), evenly spaced; only those with a label, if any has one.

    In data sorted by class, every class keeps its share.
    """
    known = rows[labels >= 0]
    rows = known if len(known) else rows
    count = min(most, len(rows))
    return rows[torch.arange(count) * len(rows) // max(count, 1)]


def check_fits(batch_size: int, images: int, parts: int) -> None:
    """Refuse a batch of more images than there are for training.

    Args:
        batch_size: images per optimiser step.
        images: number of training images.
        parts: parts that a batch is divided into, by devices and by accumulation.

    Raises:
        ValueError: it is larger.
    """
    if batch_size > images:
        most = images // parts * parts
        raise ValueError(
            f"batch_size {batch_size} exceeds the {images} training images: "
            + (f"set data.batch_size={most} or less" if most else f"{parts} parts need one each")
        )


def check_share(batch_size: int, devices: int, parts: int, held_out: int = 0) -> None:
    """Refuse a global batch that devices and accumulated batches cannot share.

    Args:
        batch_size: images of an optimiser step.
        devices: number of processes.
        parts: accumulated batches of a step.
        held_out: number of validation images, of which every process needs one; 0 for none.

    Raises:
        ValueError: it is not divisible, or there are fewer validation images than processes.
    """
    unit = devices * parts
    if batch_size % unit:
        raise ValueError(
            f"batch_size {batch_size} is global: it must be divisible by {devices} devices "
            f"x {parts} accumulated batches = {unit}; {max(batch_size // unit, 1) * unit} would do"
        )
    if 0 < held_out < devices:
        raise ValueError(
            f"{held_out} validation images cannot be divided among {devices} processes: "
            "val_size must be 0 or larger"
        )


def check_sizes(**sizes: int) -> None:
    """Refuse batches of no images.

    Raises:
        ValueError: a size below 1, by its name.
    """
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} {value} must be at least 1")


def check_sampling(sampling: str) -> None:
    """Refuse an unknown way of sampling.

    Raises:
        ValueError: unknown sampling; the message lists the valid names.
    """
    if sampling not in SAMPLING:
        raise ValueError(f"unknown sampling {sampling!r}; choose from {', '.join(SAMPLING)}")
