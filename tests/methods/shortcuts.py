"""Solvers of pretext tasks that learn nothing of what an image shows."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.augment.pretext.permutations import permutation_set
from genlab.data import Images


def held_out(data: Images, count: int = 3000) -> Tensor:
    """The first test images: (N, C, H, W) in [0, 1]."""
    batches = []
    for raw in data.batches("test"):
        batches.append(raw["image"])
        if sum(map(len, batches)) >= count:
            break
    return torch.cat(batches)[:count]


def smoothest_seams(tiles: Tensor) -> Tensor:
    """Number of the permutation that makes the seams of 2 x 2 tiles smoothest: -> (B,)."""
    pairs = [[(tiles[:, i], tiles[:, j]) for j in range(4)] for i in range(4)]
    right = [[_apart(a[..., -1], b[..., 0]) for a, b in row] for row in pairs]
    down = [[_apart(a[..., -1, :], b[..., 0, :]) for a, b in row] for row in pairs]
    costs = []
    for shown in permutation_set(2, 24):
        a, b, c, d = (shown.index(place) for place in range(4))
        costs.append(right[a][b] + right[c][d] + down[a][c] + down[b][d])
    return torch.stack(costs, 1).argmin(1)


def _apart(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).abs().flatten(1).sum(1)


def matching_borders(centre: Tensor, other: Tensor) -> Tensor:
    """Which of the eight places (row by row) fits the borders of two patches best: -> (B,)."""
    edges = {
        (-1, 0): (centre[..., 0, :], other[..., -1, :]),
        (0, -1): (centre[..., :, 0], other[..., :, -1]),
        (0, 1): (centre[..., :, -1], other[..., :, 0]),
        (1, 0): (centre[..., -1, :], other[..., 0, :]),
    }
    corners = {
        (dy, dx): (
            centre[..., 0 if dy < 0 else -1, 0 if dx < 0 else -1, None],
            other[..., -1 if dy < 0 else 0, -1 if dx < 0 else 0, None],
        )
        for dy in (-1, 1)
        for dx in (-1, 1)
    }
    places = [(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
    found = [(edges | corners)[place] for place in places]
    return torch.stack([_apart(a, b) / a[0].numel() for a, b in found], 1).argmin(1)
