"""Memorisation by a generator: share of authentic samples, and copying cell by cell."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genlab.metrics.precision_recall import neighbours

DUPLICATES = 8  # neighbours among which a training image's nearest other one is sought at first
SAME = 1e-6  # of the features' spread: nearer training images are one image
LEAST = 20  # images of each set in a cell
COMPONENTS = 64  # principal components of the training features for cells


Near = tuple[Tensor, Tensor]  # distances (N, k) and rows (N, k) of `neighbours`


def authentic_share(generated: Tensor, train: Tensor, near: Near | None = None) -> float:
    """Share of samples farther from their nearest training image than that is from the others.

    0 for copies. Fresh images of the same distribution have about 0.7, not 0.5, and more in a
    sparse set: compare with held-out images. Training images that occur several times count once,
    or their distance of 0 to each other would make every copy authentic.

    Args:
        generated: features (N, F).
        train: features of the training images (M, F), M at least 2.
        near: `neighbours` of the samples among the training images; None to find them.

    Raises:
        ValueError: no samples, or fewer than two training images.

    Source: Alaa et al. 2021, arXiv:2102.08921, authenticity. Departure: a
    share; dgm-eval reports it in %, fls in % minus 50, and both let duplicates hide copies.
    """
    if not len(generated) or len(train) < 2:
        raise ValueError(f"authenticity requires samples and two images, got {len(train)} images")
    distance, row = (part[:, 0] for part in near or neighbours(generated, train, 1))
    used, which = row.unique(return_inverse=True)
    return float((_apart(used, train)[which] < distance).double().mean())


def _apart(rows: Tensor, train: Tensor) -> Tensor:
    """Distance of training images to the nearest other one that is not the same: (R,) -> (R,).

    Among more and more neighbours, until they are not all copies. 0 if all images are the same.
    """
    spread = (train - train.mean(0)).double().square().sum(1).mean().sqrt()
    found = torch.zeros(len(rows), dtype=torch.float64, device=train.device)
    left, k = torch.arange(len(rows), device=train.device), DUPLICATES
    while len(left):
        others = neighbours(train[rows[left]], train, min(k, len(train)))[0]
        apart = others.where(others > SAME * spread, math.inf).amin(1)
        known = apart.isfinite()
        found[left[known]] = apart[known]
        left, k = left[~known] if k < len(train) else left[:0], 4 * k
    return found


def copying_score(
    generated: Tensor,
    test: Tensor,
    train: Tensor,
    cells: int = 10,
    seed: int = 0,
    near: tuple[Near, Near] | None = None,
) -> dict[str, float]:
    """C_T: are samples nearer to the training images than test images are, region by region?

    In each cell of a k-means of the training images the distances of samples and of test images
    to their nearest training image are compared by `rank_score`.

    Args:
        generated: features (N, F).
        test: features of unseen images (T, F).
        train: features of the training images (M, F).
        cells: most cells; fewer if test images are too few for 40 in each.
        seed: seed of the cells.
        near: `neighbours` of the samples and of the test images among the training images; None to
            find them.

    Returns:
        ``score``: mean of the cells' scores in standard deviations, weighted by the share of test
        images: about 0 for fresh images, below -3 for copies, above for samples off the data.
        ``covered``: share of the test images in cells with at least 20 samples and 20 test images;
        other cells, such as one that is never generated, take no part. A ``score`` of NaN if
        there is no such cell.

    Source: Meehan, Chaudhuri, Dasgupta 2020, arXiv:2004.05675. Departure: at most 64 principal
    components of the training features, as in dgm-eval.
    """
    from sklearn.cluster import KMeans

    both = near or (neighbours(generated, train, 1), neighbours(test, train, 1))
    distance = {name: d[:, 0] for name, (d, _) in zip(("generated", "test"), both, strict=True)}
    points = {"generated": generated, "test": test, "train": train}
    centre = train.double().mean(0)
    axes = principal_axes(train.double() - centre, COMPONENTS)  # (F, <= 64)
    flat = {name: ((part.double() - centre) @ axes).numpy() for name, part in points.items()}
    count = max(1, min(cells, len(test) // (2 * LEAST)))
    found = KMeans(count, n_init=1, random_state=seed).fit(flat["train"])
    cell = {name: torch.from_numpy(found.predict(flat[name])) for name in distance}
    total, covered = 0.0, 0
    for k in range(count):
        own, other = (distance[name][cell[name] == k] for name in ("generated", "test"))
        if min(len(own), len(other)) >= LEAST:
            total += len(other) * rank_score(other, own)
            covered += len(other)
    return {"score": total / covered if covered else math.nan, "covered": covered / len(test)}


def principal_axes(x: Tensor, most: int) -> Tensor:
    """Directions of largest variance of centred rows, by their covariance: (N, F) -> (F, k).

    Args:
        x: (N, F), centred.
        most: largest k; fewer where N or F is smaller.
    """
    if len(x) < x.shape[1]:
        return torch.linalg.svd(x, full_matrices=False).Vh[:most].T
    return torch.linalg.eigh(x.T @ x).eigenvectors[:, -most:].flip(1)


def rank_score(test: Tensor, generated: Tensor) -> float:
    """Standard score of Mann-Whitney's U: below 0 where generated distances are the smaller.

    U counts the pairs whose generated distance is the larger, ties by half.

    Args:
        test: distances (n,).
        generated: distances (m,).

    Source: Meehan et al.'s code: (U - (n m / 2 - 1/2)) / sqrt(n m (n + m + 1) / 12).
    """
    n, m = len(test), len(generated)
    ranked = test.double().sort().values
    at = generated.double()
    below = torch.searchsorted(ranked, at) + torch.searchsorted(ranked, at, right=True)
    u = float(below.sum()) / 2
    return (u - (n * m / 2 - 0.5)) / math.sqrt(n * m * (n + m + 1) / 12)
