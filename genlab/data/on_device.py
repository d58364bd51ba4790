"""Preparation of a batch's images on the device: resize, augment, binarise, [0, 1]."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import augment
from genlab.data.loader import Batch

MOST = {torch.uint8: 255, torch.uint16: 65535}
BINARIZE = ("none", "dynamic", "fixed")


class Finish:
    """Transform bytes into a method's input: resize, augment, binarise, [0, 1].

    Args:
        resize: side in pixels, bilinear and antialiased; None for no resizing.
        options: arguments of `augment.Augment` for training images; None for no augmentation.
        binarize: ``dynamic`` to draw the pixels of training images; other modes act elsewhere.

    Raises:
        ValueError: a value out of range, or two that cannot be combined.
    """

    def __init__(self, resize: int | None, options: dict[str, Any] | None, binarize: str) -> None:
        if resize is not None and resize < 1:
            raise ValueError(f"resize {resize} must be at least 1")
        if binarize not in BINARIZE:
            raise ValueError(f"unknown binarize {binarize!r}; choose from {', '.join(BINARIZE)}")
        if binarize != "none" and resize is not None:
            raise ValueError(f"resize {resize} would blur what binarize {binarize!r} draws")
        if binarize == "fixed" and options:
            raise ValueError("augment would change what binarize 'fixed' drew; use 'dynamic'")
        self.resize, self.binarize = resize, binarize
        self.augment = augment.from_options(options)
        done = "crop" if (options or {}).get("crop") else "translate"
        rest = {key: value for key, value in (options or {}).items() if key != done}
        self.after_cut = augment.from_options(rest)

    def __call__(self, image: Tensor, seed: int | None = None, cut: bool = False) -> Tensor:
        """Transform a batch.

        Args:
            image: (B, C, H, W) uint8, uint16, or float in [0, 1].
            seed: seed of a training batch, see `loader.batch_seed`; None in evaluation.
            cut: True if its crop, or else its translation, is done; see `files.cuts`.

        Returns:
            (B, C, H, W) float in [0, 1], resized; rounding may exceed 1 by less than 1e-6.
        """
        if self.resize:
            size = (self.resize, self.resize)
            image = F.interpolate(unit(image), size, mode="bilinear", antialias=True)
        change = self.after_cut if cut else self.augment
        if seed is not None and change:
            image = change(unit(image), seed)
        if seed is not None and self.binarize == "dynamic":
            image = augment.binarize(as_bytes(image), seed)
        return unit(image)


def finished(batch: Batch, finish: Finish, views: augment.Views | None) -> Batch:
    """A batch of bytes as a step takes it: ``image`` in [0, 1], or several ``views`` of it.

    Args:
        batch: ``image`` (B, C, H, W), uint8, uint16 or float in [0, 1]; or ``crops``, one a view.
        finish: the rest of the way.
        views: random views of training images; None for none.
    """
    seed = batch.get("seed")
    if "crops" in batch:
        batch = {**batch}
        crops = batch.pop("crops")
        if views is None:
            return batch | {"image": finish(crops[0], seed, cut=True)}
        return batch | {"views": views([unit(crop) for crop in crops], batch["seed"])}
    batch = {**batch, "image": finish(batch["image"], seed)}
    if views is not None and seed is not None:
        batch["views"] = views(batch["image"], seed)
    return batch


def unit(image: Tensor) -> Tensor:
    """Bytes times 1 / 255, as a GPU computes the division, and torchvision's v2 everywhere.

    Numbers of 16 bits times 1 / 65535; float images as they are.
    """
    if image.dtype not in MOST:
        return image
    share = 1 / MOST[image.dtype]
    return image.to(torch.float32, memory_format=torch.contiguous_format).mul_(share)


def as_bytes(image: Tensor) -> Tensor:
    """Images of any type that `unit` takes, rounded to bytes."""
    return image if image.dtype == torch.uint8 else unit(image).mul(255).round_().byte()


def moved(value: Any, device: torch.device) -> Any:
    """A batch's value with its tensors on a device; other values as they are."""
    if isinstance(value, dict):
        return {k: moved(v, device) for k, v in value.items()}
    if isinstance(value, list):
        return [moved(v, device) for v in value]
    if isinstance(value, Tensor) and device.type == "cuda":
        from genlab.data.pinned import sent  # loaded where there is a GPU

        return sent(value, device)
    return value.to(device) if isinstance(value, Tensor) else value
