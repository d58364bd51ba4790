"""Chow-Liu trees: the baseline of densities of binary vectors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class ChowLiuTree(NamedTuple):
    """Tree of binary variables, each given its parent.

    Attributes:
        parent: parent of each variable, itself for the root, (D,) int64.
        log_table: log P(variable = b | parent = a), (D, a, b) float64.
    """

    parent: Tensor
    log_table: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-probability in nats of vectors of 0 and 1: (N, D) -> (N,) float64."""
        value = x.long()
        variable = torch.arange(len(self.parent))
        return self.log_table[variable, value[:, self.parent], value].sum(1)


def chow_liu_tree(x: Tensor, pseudo_count: float = 1.0) -> ChowLiuTree:
    """Fit the tree of largest likelihood to binary vectors.

    It is the spanning tree of largest mutual information between neighbours.

    Args:
        x: training vectors of 0 and 1, (N, D).
        pseudo_count: rows added to the counts, spread evenly over the four values of a pair.

    Raises:
        ValueError: no vectors, or numbers other than 0 and 1.

    Source: Chow & Liu 1968, "Approximating discrete probability distributions with dependence
    trees". With one pseudo-count it gives the results that Lowd & Davis 2010 and later tables have.
    """
    if x.ndim != 2 or not len(x) or not ((x == 0) | (x == 1)).all():
        raise ValueError(f"Chow-Liu requires vectors (N, D) of 0 and 1, got shape {tuple(x.shape)}")
    one = x.cpu().double()
    both = torch.stack([1 - one, one])  # (2, N, D)
    count = torch.stack([torch.stack([a.T @ b for b in both], -1) for a in both], -2)
    joint = (count + pseudo_count / 4) / (len(x) + pseudo_count)  # (D, D, a, b)
    alone = (torch.stack([b.sum(0) for b in both], 1) + pseudo_count / 2) / (len(x) + pseudo_count)
    independent = alone[:, None, :, None] * alone[None, :, None, :]
    gain = (joint * (joint / independent).log()).sum((2, 3))  # mutual information, nats
    parent = _spanning_tree(gain)
    table = joint[parent, torch.arange(len(parent))]  # (D, a, b)
    table = table / table.sum(2, keepdim=True)
    table[0] = alone[0]  # the root, whatever it "is given"
    return ChowLiuTree(parent, table.log())


def _spanning_tree(gain: Tensor) -> Tensor:
    """Parent of each variable in the largest spanning tree from variable 0, by Prim: (D,)."""
    parent = torch.zeros(len(gain), dtype=torch.int64)
    best, source = gain[0].clone(), torch.zeros(len(gain), dtype=torch.int64)
    inside = torch.zeros(len(gain), dtype=torch.bool)
    inside[0] = True
    for _ in range(len(gain) - 1):
        new = int(best.masked_fill(inside, -torch.inf).argmax())
        parent[new], inside[new] = source[new], True
        better = gain[new] > best
        best, source = torch.maximum(best, gain[new]), source.masked_fill(better, new)
    return parent
