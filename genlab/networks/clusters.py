"""Clusters of the training images' embeddings, found anew once an epoch: labels to train on."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab import distributed

UNKNOWN = -100  # label of an image that no clustering has seen
BLOCK = 65536  # rows whose similarities exist at a time


@torch.no_grad()
def spherical_kmeans(rows: Tensor, start: Tensor, iterations: int) -> tuple[Tensor, Tensor]:
    """Centroids of unit vectors by the cosine, and the cluster of each.

    Every process assigns its share of the rows; sums and counts are those of all. A cluster without
    rows keeps its centroid.

    Args:
        rows: unit vectors, (n, D), the same on every rank.
        start: centroids to begin with, (K, D).
        iterations: number of times that the centroids move.

    Returns:
        Centroids, (K, D), of unit length; and the nearest one of each row, (n,).

    Source: Caron et al. 2020, arXiv:2006.09882, ``main_deepclusterv2.py`` of facebookresearch/swav.
    """
    first, world, centroids = distributed.rank(), distributed.world_size(), start
    mine = rows[first::world]
    for _ in range(iterations):
        label = _nearest(mine, centroids)
        total = torch.zeros_like(centroids).index_add_(0, label, mine)
        count = mine.new_zeros(len(centroids)).index_add_(0, label, mine.new_ones(len(mine)))
        total, count = distributed.all_reduce_sum(total), distributed.all_reduce_sum(count)
        centroids = torch.where(count[:, None] > 0, F.normalize(total, dim=1), centroids)
    share = F.pad(_nearest(mine, centroids), (0, -(-len(rows) // world) - len(mine)))
    return centroids, distributed.interleave(distributed.gather(share))[: len(rows)]


def _nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    return torch.cat([(some @ centroids.T).argmax(1) for some in rows.split(BLOCK)])


class Clusters(nn.Module):
    """Several clusterings of the training images, equal on every rank and in the checkpoint.

    Args:
        counts: K, number of clusters of each clustering.
        dim: D, width of the centroids.

    Attributes:
        labels: cluster of each image in each clustering, (H, n); n is 0 before `fit_to`.
        agreement: normalised mutual information of the first clustering with the one before.
    """

    equal_on_ranks = True  # see `queue.keep_out_of_ddp`
    labels: Tensor
    agreement: Tensor

    def __init__(self, counts: list[int], dim: int) -> None:
        super().__init__()
        for h, count in enumerate(counts):
            drawn = F.normalize(torch.randn(count, dim), dim=1)
            self.register_buffer(f"centroids_{h}", drawn)
        self.register_buffer("labels", torch.zeros(len(counts), 0, dtype=torch.long))
        self.register_buffer("agreement", torch.zeros(()))

    @property
    def centroids(self) -> list[Tensor]:
        """Those of each clustering, (K, D)."""
        return [self.get_buffer(f"centroids_{h}") for h in range(len(self.labels))]

    def fit_to(self, count: int) -> None:
        """Have a label for each of ``count`` images, unknown unless a checkpoint has them."""
        if not self.labels.shape[1]:
            self.labels = self.labels.new_full((len(self.labels), count), UNKNOWN)

    @torch.no_grad()
    def update(self, banks: list[Tensor], epoch: int, iterations: int) -> None:
        """Cluster anew: the h-th clustering is of the h-th bank, and of the first again after all.

        Args:
            banks: unit vectors of all images, each (n, D).
            epoch: number from which the rows to begin with are drawn.
            iterations: see `spherical_kmeans`.
        """
        before = self.labels[0].clone()
        for h, centroids in enumerate(self.centroids):
            rows = banks[h % len(banks)]
            chosen = torch.Generator().manual_seed(1000 * epoch + h)
            order = torch.randperm(len(rows), generator=chosen).to(rows.device)
            start = rows[order[torch.arange(len(centroids), device=rows.device) % len(rows)]]
            found, labels = spherical_kmeans(rows, start, iterations)
            centroids.copy_(found)
            self.labels[h] = labels
        count = len(self.centroids[0])
        self.agreement.copy_(mutual_information(before, self.labels[0], count))

    def sizes(self) -> Tensor:
        """Number of images in each cluster of the first clustering, (K,)."""
        sizes = torch.zeros_like(self.centroids[0][:, 0])
        known = (self.labels[0] >= 0).to(sizes.dtype)
        return sizes.index_add_(0, self.labels[0].clamp(min=0), known)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        found = state_dict.get(f"{prefix}labels")
        if found is not None and len(found) == len(self.labels):
            self.labels = self.labels.new_zeros(found.shape)  # as many as the checkpoint has
        super()._load_from_state_dict(state_dict, prefix, *args)


def mutual_information(one: Tensor, other: Tensor, count: int) -> Tensor:
    """Mutual information of two labellings as a share of their mean entropy, 0 to 1.

    Args:
        one: labels below ``count``, (n,); 0 is returned for unknown ones.
        other: those of the same images.
        count: number of labels.
    """
    known = (one >= 0) & (other >= 0)
    pair = one.clamp(min=0) * count + other.clamp(min=0)
    joint = torch.zeros(count * count, device=one.device).index_add_(0, pair, known.float())
    p = joint.view(count, count) / known.sum().clamp(min=1)
    entropies = [torch.special.entr(share).sum() for share in (p.sum(0), p.sum(1), p)]
    row, column, both = entropies
    return 2 * (row + column - both) / (row + column).clamp(min=1e-12)
