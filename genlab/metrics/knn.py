"""Weighted k-nearest-neighbour classification of features."""

from __future__ import annotations

import warnings
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from genlab import distributed
from genlab.metrics.bank import Bank, merge

DISTANCES = ("cosine", "euclidean")
QUANTUM = 2.0**20  # similarities are compared in steps of one millionth
BLOCK = 2**24  # similarities that exist at a time
QUERIES = 512  # classified by one rank at a time


def knn_scores(
    query: Tensor,
    bank: Bank,
    num_classes: int,
    k: int = 20,
    temperature: float = 0.07,
    distance: Literal["cosine", "euclidean"] = "cosine",
) -> Tensor:
    """Shares of the votes of the k most similar features, weighted exp(similarity / temperature).

    ``cosine``: the similarity is the cosine. ``euclidean``: it is minus half the squared distance
    in units of the bank's mean square length; on features of length one that is the cosine less 1,
    and both give the same votes.

    Args:
        query: (Q, F).
        bank: N labelled features; with fewer than k all of them vote.
        num_classes: K.
        k: neighbours that vote.
        temperature: T; towards 0 only the nearest counts, towards infinity all k count alike.
        distance: name of the similarity.

    Returns:
        (Q, K) float64, rows sum to 1.

    Source: Wu, Xiong, Yu, Lin 2018, arXiv:1805.01978, section 3.4: cosine, k = 200, T = 0.07.
    Departure: similarities are rounded to a millionth and ties go to the lower index, so that
    neither the order of the bank nor the number of processes decides.
    """
    known, shift, scale = _prepare(bank.features, distance)
    block = max(1, BLOCK // max(len(known), 1))
    scores = [
        _votes(
            (_scaled(part, distance, scale) @ known.T).sub_(shift),
            bank.label,
            num_classes,
            min(k, len(known)),
            temperature,
        )
        for part in query.float().split(block)
    ]
    return torch.cat(scores) if scores else query.new_zeros(0, num_classes, dtype=torch.float64)


def _prepare(features: Tensor, distance: str) -> tuple[Tensor, Tensor, Tensor]:
    """The bank's rows, what to take from each row's products, and the unit of length."""
    rows = features.float()
    if distance == "cosine":
        return F.normalize(rows, dim=1), rows.new_zeros(()), rows.new_ones(())
    scale = rows.square().sum(1).mean().sqrt().clamp(min=1e-12)
    rows = rows / scale
    return rows, rows.square().sum(1) / 2, scale


def _scaled(query: Tensor, distance: str, scale: Tensor) -> Tensor:
    return F.normalize(query, dim=1) if distance == "cosine" else query / scale


def _votes(
    similarity: Tensor, label: Tensor, num_classes: int, k: int, temperature: float
) -> Tensor:
    """(Q, N) similarities, up to a constant of each row -> (Q, K) shares of the votes."""
    nearest, rows = _nearest(similarity, k, 2 * k + 8)
    weight = ((nearest - nearest[:, :1]) / temperature).exp()
    votes = weight.new_zeros(len(weight), num_classes).scatter_add_(1, label[rows], weight)
    return votes / votes.sum(1, keepdim=True)


def _nearest(similarity: Tensor, k: int, candidates: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, descending, and where: among equals the first. 2 x (Q, k)."""
    every = similarity.shape[1]
    values, rows = similarity.topk(min(candidates, every), dim=1)
    steps = values.mul(QUANTUM).round().double()
    keys, order = (steps - rows / every).topk(k, dim=1)
    nearest, found = keys.ceil() / QUANTUM, rows.gather(1, order)
    open_end = steps[:, -1] == steps[:, k - 1]  # there may be more equals than candidates
    if candidates < every and bool(open_end.any()):
        nearest[open_end], found[open_end] = _nearest(similarity[open_end], k, every)
    return nearest, found


class KNN(Metric):
    """Top-1 and top-5 accuracy of the weighted kNN, exact for any number of ranks.

    First `set_bank`, then `update` with the queries; `reset` forgets the queries and keeps the
    bank. Queries that two ranks both saw, as padding, count once. Every rank classifies a share
    of the same blocks of queries, so the metrics do not depend on the number of ranks. Rows with
    label -1 neither vote nor count.

    Args:
        num_classes: K.
        k: neighbours; with a smaller bank all of it votes, and a warning says so.
        temperature: temperature T of the weights exp(similarity / T).
        distance: ``cosine`` or ``euclidean``.

    Logs:
        val/knn_top1, test/knn_top1 (fraction, higher): share of images whose class wins the vote of
            the k training images with the most similar features, weighted exp(similarity / T).
        val/knn_top5, test/knn_top5 (fraction, higher): share whose class is among the five with
            most votes; of more than five classes.

    Raises:
        ValueError: k below 1, a temperature that is not positive, or an unknown distance.

    Source: see `knn_scores`.
    """

    higher_is_better = True
    full_state_update = False
    features: list[Tensor]
    label: list[Tensor]
    index: list[Tensor]

    def __init__(
        self,
        num_classes: int,
        k: int = 20,
        temperature: float = 0.07,
        distance: Literal["cosine", "euclidean"] = "cosine",
    ) -> None:
        super().__init__(sync_on_compute=False)  # `compute` merges the ranks by itself
        if k < 1:
            raise ValueError(f"k {k} must be at least 1")
        if temperature <= 0:
            raise ValueError(f"temperature {temperature} must be above 0")
        if distance not in DISTANCES:
            raise ValueError(f"unknown distance {distance!r}; choose from {', '.join(DISTANCES)}")
        self.num_classes, self.k, self.temperature = num_classes, k, temperature
        self.distance: Literal["cosine", "euclidean"] = distance
        self.bank: Bank | None = None
        for name in ("features", "label", "index"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def set_bank(self, bank: Bank) -> None:
        """The labelled features that vote: all ranks', see `bank.merge`.

        Raises:
            ValueError: no label in it is known.
        """
        bank = bank.labelled()
        if not len(bank.label):
            raise ValueError("kNN requires labelled images in its bank")
        if self.k > len(bank.label):
            warnings.warn(f"k {self.k}: only the bank's {len(bank.label)} rows vote", stacklevel=2)
        self.bank = bank

    def update(self, features: Tensor, label: Tensor, index: Tensor) -> None:
        """Queries: (B, F), (B,) and their positions in the data set (B,)."""
        self.features.append(features.detach().flatten(1).float())
        self.label.append(label)
        self.index.append(index)

    def scores(self, features: Tensor) -> Tensor:
        """Shares of the votes: (Q, F) -> (Q, K) float64.

        Raises:
            ValueError: there is no bank.
        """
        if self.bank is None:
            raise ValueError("kNN has no bank yet: call set_bank")
        return knn_scores(
            features, self.bank, self.num_classes, self.k, self.temperature, self.distance
        )

    def compute(self) -> dict[str, Tensor]:
        """``knn_top1`` and, with more than five classes, ``knn_top5``: fractions right."""
        queries = merge(*(torch.cat(part) for part in (self.features, self.label, self.index)))
        queries = queries.labelled()
        right = torch.zeros(2, dtype=torch.int64, device=queries.label.device)
        tops = (1, 5) if self.num_classes > 5 else (1,)
        starts = range(0, len(queries.label), QUERIES)
        for start in list(starts)[distributed.rank() :: distributed.world_size()]:
            part = slice(start, start + QUERIES)
            best = self.scores(queries.features[part]).argsort(stable=True, dim=1, descending=True)
            hits = best == queries.label[part, None]
            right += torch.stack([hits[:, :1].sum(), hits[:, :5].sum()])
        share = distributed.all_reduce_sum(right) / max(1, len(queries.label))
        return {f"knn_top{n}": share[i] for i, n in enumerate(tops)}
