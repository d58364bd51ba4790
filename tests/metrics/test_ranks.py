"""RankMe and LiDAR against slow references, and against values computed outside genlab."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from genlab.metrics import LiDAR, RankMe, rankme
from genlab.metrics.geometry import effective_rank
from tests.conftest import TwoRanks


def entropy(values: Any) -> float:
    shares = [float(value) / float(sum(values)) + 1e-7 for value in values]
    return math.exp(-sum(p * math.log(p) for p in shares))


def slow_rankme(z: np.ndarray) -> float:
    return entropy(np.linalg.svd(z, compute_uv=False))


def slow_lidar(z: np.ndarray, delta: float) -> float:
    """The matrices entry by entry, the root of S_w by its eigenvectors; (n, q, D)."""
    n, q, dim = z.shape
    means = [sum(z[i, j] for j in range(q)) / q for i in range(n)]
    centre = sum(means) / n
    between, within = np.zeros((dim, dim)), delta * np.eye(dim)
    for i in range(n):
        between += np.outer(means[i] - centre, means[i] - centre) / (n - 1)
        for j in range(q):
            within += np.outer(z[i, j] - means[i], z[i, j] - means[i]) / (n * (q - 1))
    values, vectors = np.linalg.eigh(within)
    root = vectors @ np.diag(values**-0.5) @ vectors.T
    return entropy(np.linalg.eigvalsh(root @ between @ root).clip(0))


def sines(*shape: int) -> np.ndarray:
    """sin(1.7 i + 0.9 j + 0.31 i j) of n x D; of n x q x D with views that differ by 0.3."""
    if len(shape) == 2:
        i, j = np.mgrid[: shape[0], : shape[1]]
        return np.asarray(np.sin(1.7 * i + 0.9 * j + 0.31 * i * j))
    i, v, j = np.mgrid[: shape[0], : shape[1], : shape[2]]
    view = np.sin(2.3 * v + 0.7 * j * v + 1.1 * i)
    return np.asarray(np.sin(1.7 * i + 0.9 * j + 0.31 * i * j) + 0.3 * view)


def lidar(z: np.ndarray, delta: float = 1e-4, part: int = 5) -> float:
    metric = LiDAR(z.shape[2], delta)
    for some in torch.from_numpy(z).split(part):
        metric.update(some)
    return float(metric.compute())


@pytest.mark.parametrize("shape", [(8, 16), (16, 8), (40, 3)])
def test_rankme_is_the_papers(shape: tuple[int, int]) -> None:
    z = sines(*shape)
    assert float(rankme(torch.from_numpy(z))) == pytest.approx(slow_rankme(z), rel=1e-9)


def test_rankme_has_the_value_of_numpy() -> None:
    """numpy.linalg.svd of 8 x 16, and the formula by hand."""
    assert float(rankme(torch.from_numpy(sines(8, 16)))) == pytest.approx(7.897968448798631)


def test_rankme_is_of_lengths_as_they_are_and_close_to_the_effective_rank() -> None:
    z = torch.randn(200, 12, dtype=torch.float64)
    assert float(rankme(z)) == pytest.approx(effective_rank(z), rel=1e-4)
    assert float(rankme(z)) != effective_rank(z)
    long = z.clone()
    long[0] *= 1e4  # one embedding in one direction
    assert float(rankme(long)) < 2
    assert float(rankme(torch.ones(50, 6))) == pytest.approx(1, abs=1e-4)


def test_rankme_is_of_the_first_embeddings_alone() -> None:
    z = torch.randn(100, 12)
    metric = RankMe(12, most=70)
    for part in z.split(30):
        metric.update(part)
    assert float(metric.compute()) == pytest.approx(float(rankme(z[:70])), rel=1e-9)
    assert RankMe(4).most == 25_600


@pytest.mark.parametrize("shape", [(12, 4, 5), (6, 3, 9), (30, 2, 4)])
@pytest.mark.parametrize("delta", [1e-4, 0.5])
def test_lidar_is_the_papers(shape: tuple[int, int, int], delta: float) -> None:
    z = sines(*shape)
    assert lidar(z, delta) == pytest.approx(slow_lidar(z, delta), rel=1e-7)


def test_lidar_has_the_value_of_numpy() -> None:
    """numpy.linalg.eigh of the root of S_w, of 12 images with 4 views in 5 dimensions."""
    assert lidar(sines(12, 4, 5)) == pytest.approx(1.8897754627639762)


def test_lidar_counts_directions_in_which_images_differ_more_than_views_do() -> None:
    """RankMe counts all sixteen; LiDAR the four that views share."""
    torch.manual_seed(1)
    image, view = torch.randn(500, 1, 16), torch.randn(500, 10, 16)
    image[..., 4:] = 0
    view[..., :4] *= 0.1
    z = (image + view).double()
    assert float(rankme(z.flatten(0, 1))) > 12
    assert lidar(z.numpy()) == pytest.approx(4, rel=0.05)


def test_a_collapse_has_rank_zero_or_one() -> None:
    assert lidar(np.ones((20, 3, 4))) <= 1
    line = torch.randn(50, 1, 1).double() * torch.ones(1, 3, 4)
    assert lidar(line.numpy()) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_embeddings_that_are_not_finite_have_no_rank(wrong: float) -> None:
    z = torch.randn(10, 3, 4).double()
    z[2, 1, 0] = wrong
    assert math.isnan(lidar(z.numpy()))
    assert math.isnan(float(rankme(z.flatten(0, 1))))


@pytest.mark.parametrize("shape", [(1, 3, 4), (5, 1, 4)])
def test_lidar_requires_images_with_views(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="requires two images with two views"):
        lidar(sines(*shape))
    with pytest.raises(ValueError, match="delta 0"):
        LiDAR(4, 0)


def test_two_ranks_have_the_ranks_of_one_process(two_ranks: TwoRanks) -> None:
    """Also where the number of embeddings that count is odd."""
    two_ranks.assert_same("tests.metrics.programs_ranks:ranks", atol=1e-9)
