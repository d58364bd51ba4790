"""Copying by a generator: the training images nearest to its samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genlab import metrics
from genlab.drawing.grid import squares
from genlab.drawing.retrieval import retrieved
from genlab.evaluation.judges import Seen

SHOWN = 6  # neighbours of a sample in the image, and rows of each of its two halves
HEADS = ("sample", "nearest training images, with distances")


class Nearest(NamedTuple):
    """Some samples and the training images nearest to each."""

    sample: Tensor  # (S, C, H, W) in [0, 1]
    near: Tensor  # (S, k, C, H, W)
    distance: Tensor  # (S, k), in the features
    suspicious: int  # number of samples, the first, that are most like one training image


def nearest_training(
    samples: Tensor, train: Tensor, test: Tensor, name: str
) -> tuple[dict[str, float], Tensor, Tensor]:
    """Distances to the nearest training image, of samples next to those of unseen real images.

    Args:
        samples: features (N, F).
        train: features of the training images (M, F).
        test: features of unseen images (T, F).
        name: name of the features, for the keys of metrics.

    Logs:
        judge/nearest_<features> (distance): median distance from a sample to its nearest training
            image, in the features.
        judge/nearest_<features>_test (distance): the same from unseen real images.
        judge/copying_<features> (fraction): chance that a sample lies nearer to the training images
            than a test image does: 0.5 for fresh images, 1 for copies.
        judge/copying_score_<features> (standard deviations): C_T, the same region by region, see
            `metrics.copying_score`: about 0 for fresh images, below -3 for copies.
        judge/copying_score_<features>_covered (fraction, higher): share of the test images in
            regions with enough samples for it.
        judge/authentic_<features> (fraction, higher): share of samples farther from their nearest
            training image than that is from other training images: 0 for copies.
        judge/authentic_<features>_test (fraction): the same of unseen real images.

    Returns:
        ``nearest`` and ``nearest_test``: the medians; ``copying``: frequency with which a sample is
        nearer to the training images than a test image is: 0.5 for fresh real images, 1 for copies
        of training images, below 0.5 for samples off the data; ``copying_score`` and
        ``authentic``, see `metrics.copying_score` and `metrics.authentic_share`. Then the distances
        (N, k) and the rows of the neighbours in ``train`` (N, k).

    Source: Meehan, Chaudhuri, Dasgupta 2020, arXiv:2004.05675, their statistic U as a share.
    Departure: ``copying`` is over the whole space, not cell by cell.
    """
    near = metrics.neighbours(samples, train, min(SHOWN, len(train)))
    near_test = metrics.neighbours(test, train, 1)
    own = near[0][:, 0].contiguous()
    other = near_test[0][:, 0].contiguous().sort().values
    below = torch.searchsorted(other, own)  # test images that lie nearer; ties count half
    above = len(other) - torch.searchsorted(other, own, right=True)
    share = (above.double() + (len(other) - below)).mean() / (2 * len(other))
    figures = {
        f"nearest_{name}": float(own.median()),
        f"nearest_{name}_test": float(other.median()),
        f"copying_{name}": float(share),
        f"authentic_{name}": metrics.authentic_share(samples, train, near),
        f"authentic_{name}_test": metrics.authentic_share(test, train, near_test),
    }
    cells = metrics.copying_score(samples, test, train, near=(near, near_test))
    if cells["covered"]:
        figures[f"copying_score_{name}"] = cells["score"]
    figures[f"copying_score_{name}_covered"] = cells["covered"]
    return figures, *near


def shown(images: Tensor, distance: Tensor, rows: Tensor, train: Seen, data: Any) -> Nearest:
    """Some samples with their nearest training images.

    The first half are the samples most like one training image and not like others, by the distance
    to the nearest over that to the last shown; the second half the first drawn.

    Args:
        images: samples (N, C, H, W) uint8.
        distance: distances to their neighbours (N, k).
        rows: rows of the neighbours in ``train`` (N, k).
        train: training features, with the ``position`` of their images.
        data: data module of those images.
    """
    suspicious = (distance[:, 0] / distance[:, -1]).argsort(stable=True)[:SHOWN]
    chosen = torch.cat([suspicious, torch.arange(min(SHOWN, len(images)))])
    wanted = train.position[rows[chosen]]  # (S, k)
    found = _training_images(data, set(wanted.flatten().tolist()), len(train.label))
    near = torch.stack([torch.stack([found[p] for p in line]) for line in wanted.tolist()])
    return Nearest(
        images[chosen].float() / 255, near.float() / 255, distance[chosen], len(suspicious)
    )


def picture(nearest: Nearest, title: str) -> np.ndarray:
    """Samples, each with its nearest training images and their distances: (H, W, 3) bytes.

    Args:
        nearest: samples; vectors are squares of grey pixels, see `drawing.grid`.
        title: text above.
    """
    sample, near = nearest.sample, nearest.near
    if sample.shape[2:] == (1, 1):
        count, k = near.shape[:2]
        drawn = squares(torch.cat([sample, near.flatten(0, 1)]))
        sample, near = drawn[:count], drawn[count:].unflatten(0, (count, k))
    reasons = ["most alike"] * nearest.suspicious
    reasons += ["first drawn"] * (len(sample) - nearest.suspicious)
    captions = [
        [why, *(f"{one:.3g}" for one in distances)]
        for why, distances in zip(reasons, nearest.distance.tolist(), strict=True)
    ]
    return retrieved(sample, near, None, captions, title, HEADS)


def _training_images(data: Any, positions: set[int], most: int) -> dict[int, Tensor]:
    """Bytes (C, H, W) of training images by their position."""
    found: dict[int, Tensor] = {}
    for raw in data.bank_dataloader("train", most=most, binarized=False):
        here = [i for i, p in enumerate(raw["index"].tolist()) if p in positions]
        if here:
            image = data.to_device(raw)["image"].mul(255).round().byte()
            found |= {int(raw["index"][i]): image[i] for i in here}
        if len(found) == len(positions):
            break
    return found
