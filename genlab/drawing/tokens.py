"""Tokens of patches and attention as images."""

from __future__ import annotations

import torch
from torch import Tensor

SHARE = 0.02  # of the values at each end that may be cut off
WHITE = 4  # times the mean weight of a map


def principal_colours(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """The first three principal components of all images' tokens as red, green and blue.

    Patches that look alike have like tokens, in one image and from image to image.

    Args:
        tokens: (B, h w, D).
        grid: rows h and columns w.

    Returns:
        (B, 3, h, w) in [0, 1]: each component between its quantiles, its sign such that its
        largest weight is positive.
    """
    rows = tokens.detach().float().cpu().flatten(0, 1)
    rows = rows - rows.mean(0)
    _, _, directions = torch.linalg.svd(rows, full_matrices=False)
    axes = directions[:3]  # fewer where there are fewer tokens or dimensions
    largest = axes.gather(1, axes.abs().argmax(1, keepdim=True))
    values = rows @ (axes * largest.sign()).T
    low, high = (values.quantile(q, dim=0) for q in (SHARE, 1 - SHARE))
    colours = ((values - low) / (high - low).clamp(min=1e-9)).clamp(0, 1)
    colours = torch.cat([colours, colours.new_full((len(colours), 3 - len(axes)), 0.5)], 1)
    return colours.view(len(tokens), *grid, 3).permute(0, 3, 1, 2)


def heat(maps: Tensor) -> Tensor:
    """Weights as brightness, on one scale for all maps: (..., h, w) -> the same, in [0, 1].

    Black is 0 and white is `WHITE` times the map's mean weight or more, so that even
    attention is a dark grey without a pattern.
    """
    maps = maps.detach().float().cpu()
    even = maps.mean((-2, -1), keepdim=True).clamp(min=1e-12)
    return (maps / (WHITE * even)).clamp(0, 1)


def peak(maps: Tensor) -> float:
    """Largest weight over the mean weight of maps (..., h, w), mean over the maps; 1 where even."""
    maps = maps.detach().float()
    return float((maps.amax((-2, -1)) / maps.mean((-2, -1)).clamp(min=1e-12)).mean())
