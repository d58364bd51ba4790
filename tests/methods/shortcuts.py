"""Solvers of pretext tasks that learn nothing of what an image shows."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.augment.pretext.permutations import permutation_set
from genlab.data import Images


def held_out(data: Images, count: int = 3000, split: Literal["train", "test"] = "test") -> Tensor:
    """The first images of a split, by default of the test set: (N, C, H, W) in [0, 1]."""
    batches = []
    for raw in data.batches(split):
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


def dark_frame(tiles: Tensor) -> Tensor:
    """Number of the permutation of 2 x 2 tiles with the darkest border of the image: -> (B,)."""
    top, bottom, left, right = (
        edge.mean((2, 3))
        for edge in (tiles[..., 0, :], tiles[..., -1, :], tiles[..., 0], tiles[..., -1])
    )
    places = (top + left, top + right, bottom + left, bottom + right)  # 4 x (B, tiles)
    costs = [
        torch.stack([place[:, shown.index(k)] for k, place in enumerate(places)]).sum(0)
        for shown in permutation_set(2, 24)
    ]
    return torch.stack(costs, 1).argmin(1)


def row_and_column_means(image: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, C (W + H))."""
    return torch.cat([image.mean(2).flatten(1), image.mean(3).flatten(1)], 1)


def ridge_accuracy(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    """Share of right answers of linear regression onto the classes, with a penalty of 1.

    Args:
        train: features (N, F) and classes (N,).
        test: those on which it is judged.
    """
    (x, label), (asked, right) = train, test
    mean, std = x.mean(0), x.std(0).clamp(min=1e-3)
    known, new = (
        torch.cat([(part - mean) / std, torch.ones(len(part), 1)], 1).double()
        for part in (x, asked)
    )
    gram = known.T @ known + torch.eye(known.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(gram, known.T @ F.one_hot(label).double())
    return float(((new @ weight).argmax(1) == right).double().mean())


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
