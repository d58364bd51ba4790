"""Fixed positions of a grid of patches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def sine_positions(width: int, grid: tuple[int, int]) -> Tensor:
    """Sines and cosines of places: (h w, width) float32, row by row.

    The first half of the width encodes the column, the second the row, each by sines and then
    cosines of ``place / 10000^(4 k / width)``.

    Args:
        width: width D of a token; a multiple of 4.
        grid: rows and columns.

    Raises:
        ValueError: the width is not a multiple of 4.

    Source: He et al. 2022, arXiv:2111.06377; facebookresearch/mae, ``util/pos_embed.py``, whose
    comment says that the row comes first.
    """
    if width % 4:
        raise ValueError(f"positions require a width that 4 divides, got {width}")
    quarter = width // 4
    rate = 10000.0 ** -(torch.arange(quarter, dtype=torch.float64) / quarter)
    rows, columns = (torch.arange(n, dtype=torch.float64)[:, None] * rate for n in grid)
    half = [torch.cat([angle.sin(), angle.cos()], 1) for angle in (columns, rows)]
    column, row = half[0].expand(grid[0], -1, -1), half[1][:, None].expand(-1, grid[1], -1)
    return torch.cat([column, row], 2).flatten(0, 1).float()


@torch.no_grad()
def fix_positions(vit: Any, grid: tuple[int, int]) -> None:
    """Give a ViT `sine_positions` that are not trained, and zeros to its prefix tokens.

    A network without learnt positions stays as it is.

    Args:
        vit: network of timm with ``pos_embed`` (1, N, D), or None.
        grid: rows and columns of its patches.

    Raises:
        ValueError: the width is not a multiple of 4.
    """
    if vit.pos_embed is None:
        return
    table = sine_positions(vit.pos_embed.shape[2], grid)
    first = vit.pos_embed.shape[1] - len(table)
    vit.pos_embed.zero_()[0, first:] = table
    vit.pos_embed.requires_grad_(False)
