"""Retrieval: the training images nearest to others in feature space, as an image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.contracts import HasWholeImages
from genlab.data.sampling import evenly
from genlab.drawing.retrieval import retrieved
from genlab.metrics import Bank, neighbours

ROWS, COLUMNS = 8, 8  # images, and training images found for each


class Found(NamedTuple):
    """Some images and the training images nearest to each."""

    query: Bank  # (N, F)
    position: Tensor  # of the training images in their data set, (N, k)
    label: Tensor  # of those, (N, k)
    cosine: Tensor  # (N, k)


def search(train: Bank, others: Bank, count: int = ROWS, k: int = COLUMNS) -> Found:
    """The training images whose features have the largest cosines with those of other images.

    Args:
        train: features of training images.
        others: features of the images, of which those with a label, if any has one, are taken.
        count: number of images, evenly spaced over ``others``.
        k: number of training images for each.
    """
    chosen = evenly(torch.arange(len(others.label)), others.label.cpu(), count)
    query = Bank(*(part[chosen.to(part.device)] for part in others))
    near, own = (F.normalize(bank.features.float(), dim=1) for bank in (train, query))
    distance, rows = neighbours(own, near, min(k, len(train.label)))
    return Found(
        Bank(*(part.cpu() for part in query)),
        train.position[rows].cpu(),
        train.label[rows].cpu(),
        (1 - distance.square() / 2).cpu(),
    )


def picture(found: Found, data: Any, split: str, title: str) -> np.ndarray | None:
    """The images with what was found for each: (H, W, 3) bytes, see `drawing.retrieval`.

    Args:
        found: images by their positions.
        data: data module; None is returned where it does not find images by position, or has
            points and vectors instead of images.
        split: split of the images.
        title: text above.
    """
    if not isinstance(data, HasWholeImages) or getattr(data, "image_size", 1) == 1:
        return None
    show: Any = data
    query = show.to_device(data.whole(found.query.position, split))["image"]
    near = show.to_device(data.whole(found.position.flatten(), "train"))["image"]
    near = near.unflatten(0, found.position.shape)
    own, other = found.query.label[:, None], found.label
    agrees = torch.where((own < 0) | (other < 0), -1, (own == other).long())
    names = [str(name) for name in getattr(data, "classes", ())]
    rows = zip(*(one.tolist() for one in (found.query.label, other, found.cosine)), strict=True)
    caption = partial(_caption, names, decimals(found.cosine))
    captions = [[_named(mine, names), *map(caption, *theirs)] for mine, *theirs in rows]
    return retrieved(query, near, agrees, captions, title)


def decimals(cosine: Tensor) -> int:
    """Number of decimals that tell cosines apart: three, and up to six where nearly all are 1."""
    gap = float((1 - cosine).median())
    return min(6, max(3, math.ceil(1 - math.log10(gap)))) if gap > 0 else 3


def _caption(names: Sequence[str], digits: int, label: int, cosine: float) -> str:
    return f"{_named(label, names)} ({cosine:.{digits}f})".strip()


def _named(label: int, names: Sequence[str]) -> str:
    if label < 0:
        return ""
    return names[label] if label < len(names) else str(label)
