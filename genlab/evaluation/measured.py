"""Results of a measurement, and the images that measurements look at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genlab.contracts import Classifies

MOST = 2000  # images of a split that are looked at


class Measured(NamedTuple):
    """Results of a measurement."""

    figures: dict[str, Any]  # names without the split
    shown: Mapping[str, Tensor] = {}  # title of a column -> images (N, C, H, W) in [0, 1]


def images_of(
    method: Any, data: Any, split: str = "test", most: int = MOST
) -> tuple[Tensor, Tensor]:
    """Images of a split as evaluation sees them, and labels: (N, C, H, W), (N,).

    Raises:
        ValueError: there are none.
    """
    parts = [
        (batch["image"], batch["label"])
        for raw in data.bank_dataloader(split, most=most)
        if (batch := data.to_device(raw, method.device))
    ]
    if not parts:
        raise ValueError(f"{split} images are missing")
    image, label = (torch.cat(column) for column in zip(*parts, strict=True))
    return image[:most], label[:most]


def labelled(
    method: Any, data: Any, split: str = "test", most: int = MOST
) -> tuple[Tensor, Tensor]:
    """Images with labels of a classifier, see `images_of`.

    Raises:
        ValueError: no classifier, or no labels.
    """
    able = isinstance(method, Classifies)
    if not able:
        raise ValueError(f"{type(method).__name__} is not a classifier")
    image, label = images_of(method, data, split, most)
    if not bool((label >= 0).any()):
        raise ValueError(f"no {split} image has a label")
    return image[label >= 0], label[label >= 0]


@torch.no_grad()
def accuracy(method: Any, image: Tensor, label: Tensor, batch: int = 500) -> float:
    """Share of images whose class is right."""
    guess = [method.logits(part).argmax(1) for part in image.split(batch)]
    return float((torch.cat(guess) == label).float().mean())
