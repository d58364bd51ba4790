"""Occlusion: the places a classifier looks at, and what an autoencoder puts behind a patch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.contracts import Classifies, Reconstructs
from genlab.evaluation.measured import Measured, images_of, labelled

MOST, SHOWN, BATCH = 300, 8, 500


@torch.no_grad()
def measure(method: Any, data: Any, judge: Any = None) -> Measured:
    """Occlusion maps of test images, by a grey patch of a quarter of the side at every place.

    Args:
        method: classifier, or method that reconstructs.
        data: data module.
        judge: None; it is not used.

    Logs:
        test/occlusion_drop (fraction, lower): fall of the right class's probability where a grey
            patch makes it fall most, mean over 300 test images; the patch's side is a
            quarter of the image's.
        test/occlusion_mean_drop (fraction, lower): the same at all places, mean over them.
        test/occlusion_removed (fraction, higher): share of the squared error behind a black patch
            in the middle that reconstruction removes; 0 where it is kept, below 0 where it grows.

    Returns:
        These, and images with their maps, or of covered images and reconstructions.

    Source: Zeiler & Fergus 2013, arXiv:1311.2901, section 4.2.
    """
    if isinstance(method, Classifies):
        image, label = labelled(method, data, most=MOST)
        maps = occlusion_map(method.logits, image, label, _side(image))
        falls = maps.flatten(1)
        found = {"occlusion_drop": falls.amax(1).mean(), "occlusion_mean_drop": falls.mean()}
        few = maps[:SHOWN].clamp(0, 1)
        large = F.interpolate(few[:, None], image.shape[-2:], mode="nearest")
        shown = {"image": image[:SHOWN], "fall of probability": large}
    elif isinstance(method, Reconstructs):
        image, _ = images_of(method, data, most=MOST)
        side = 2 * _side(image)  # half of the image's side
        top = (image.shape[-1] - side) // 2
        hole = (..., slice(top, top + side), slice(top, top + side))
        covered = image.clone()
        covered[hole] = 0
        again = torch.cat([method.reconstruct(part) for part in covered.split(BATCH)])
        before, after = ((x[hole] - image[hole]).square().sum() for x in (covered, again))
        found = {"occlusion_removed": 1 - after / before}
        shown = {"image": image[:SHOWN], "covered": covered[:SHOWN], "output": again[:SHOWN]}
    else:
        raise ValueError(f"{type(method).__name__} neither classifies nor reconstructs")
    return Measured({k: float(v) for k, v in found.items()}, shown)


def occlusion_map(
    logits: Callable[[Tensor], Tensor], image: Tensor, label: Tensor, side: int, grey: float = 0.5
) -> Tensor:
    """Fall of the right class's probability with a square patch at every place.

    Args:
        logits: classifier, (B, C, H, W) -> (B, K).
        image: (B, C, H, W).
        label: right classes (B,).
        side: side of the patch in pixels; places are half of it apart, and the last at the edge.
        grey: value of the patch's pixels.

    Returns:
        (B, h, w).
    """

    def right(x: Tensor) -> Tensor:
        parts = [logits(part).float().softmax(1) for part in x.split(BATCH)]
        return torch.cat(parts).gather(1, label[:, None])[:, 0]

    whole = right(image)
    rows, columns = (_places(size, side) for size in image.shape[-2:])
    falls = []
    for top in rows:
        for left in columns:
            covered = image.clone()
            covered[..., top : top + side, left : left + side] = grey
            falls.append(whole - right(covered))
    return torch.stack(falls, 1).unflatten(1, (len(rows), len(columns)))


def _places(size: int, side: int) -> list[int]:
    return sorted({*range(0, size - side + 1, max(1, side // 2)), size - side})


def _side(image: Tensor) -> int:
    return max(1, image.shape[-1] // 4)
