"""Spherical k-means with the reference's values; labels, their agreement, checkpoints."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.networks.clusters import Clusters, mutual_information, spherical_kmeans
from tests.conftest import TwoRanks
from tests.losses.golden_embeddings import x

LABELS = "0 1 2 3 4 3 4 0 1 0 4 3 4 3 2 1 0 2 2 0 1 2 3 4 3 4 0 1 0 4 3 4 3 2 1 0 2 0 4 2"


def unit(s: float, n: int) -> Tensor:
    return F.normalize(x(s, n, 8), dim=1)


def slow(rows: Tensor, start: Tensor, iterations: int) -> tuple[Tensor, list[int]]:
    """Row by row."""
    centroids = start.clone()
    for _ in range(iterations):
        nearest = [int((centroids @ row).argmax()) for row in rows]
        for k in range(len(centroids)):
            mine = [row for row, label in zip(rows, nearest, strict=True) if label == k]
            if mine:
                centroids[k] = F.normalize(torch.stack(mine).mean(0), dim=0)
    return centroids, [int((centroids @ row).argmax()) for row in rows]


def test_clusters_are_the_references() -> None:
    """DC1."""
    rows = unit(0, 40)
    centroids, labels = spherical_kmeans(rows, rows[:5], 10)
    assert labels.tolist() == [int(label) for label in LABELS.split()]
    assert float(centroids.sum()) == pytest.approx(-0.490917977347, abs=1e-9)
    slowly, again = slow(rows, rows[:5], 10)
    torch.testing.assert_close(centroids, slowly)
    assert labels.tolist() == again
    rows = unit(1, 40)
    assert float(spherical_kmeans(rows, rows[:4], 10)[0].sum()) == pytest.approx(
        0.375021527421, abs=1e-9
    )


def test_an_empty_cluster_keeps_its_centroid() -> None:
    rows, far = unit(0, 6), -unit(0, 1)
    start = torch.cat([rows[:1], far])
    centroids, labels = spherical_kmeans(rows[:1].expand(6, -1), start, 3)
    torch.testing.assert_close(centroids[1:], far)
    assert labels.tolist() == [0] * 6


@pytest.mark.ddp
def test_two_ranks_find_what_one_process_finds(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.networks.programs_clusters:clustered", atol=1e-12)


def test_clusterings_are_of_the_banks_in_turn_and_of_their_epoch() -> None:
    clusters = Clusters([5, 4, 3], 8).double()
    clusters.fit_to(40)
    assert set(clusters.labels.flatten().tolist()) == {-100}
    assert float(clusters.sizes().sum()) == 0
    banks = [unit(0, 40), unit(1, 40)]
    clusters.update(banks, 0, 10)
    for centroids, labels, rows in zip(
        clusters.centroids, clusters.labels, [*banks, banks[0]], strict=True
    ):
        assert torch.equal((rows @ centroids.T).argmax(1), labels)
    assert float(clusters.sizes().sum()) == 40
    again = Clusters([5, 4, 3], 8).double()
    again.load_state_dict(clusters.state_dict())
    again.fit_to(40)  # the labels stay
    assert torch.equal(again.labels, clusters.labels)
    for one in (clusters, again):
        one.update(banks, 1, 10)
    assert torch.equal(again.labels, clusters.labels)
    assert 0 < float(clusters.agreement) <= 1


def test_more_clusters_than_images_leave_some_empty() -> None:
    clusters = Clusters([9], 8).double()
    clusters.fit_to(4)
    clusters.update([unit(0, 4)], 0, 3)
    assert int((clusters.sizes() > 0).sum()) == 4


def test_agreement_is_one_for_renamed_clusters_and_zero_for_independent_ones() -> None:
    one = torch.tensor([0, 0, 1, 1, 2, 2])
    assert float(mutual_information(one, (one + 1) % 3, 3)) == pytest.approx(1)
    two, three = torch.arange(6) % 2, torch.arange(6) // 2
    assert float(mutual_information(two, three, 3)) == pytest.approx(0, abs=1e-6)
    assert float(mutual_information(torch.full((6,), -100), one, 3)) == 0
