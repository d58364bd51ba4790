"""Images as rows of patches, and back."""

from __future__ import annotations

from torch import Tensor


def cut(image: Tensor, grid: tuple[int, int]) -> Tensor:
    """The patches of images, row by row: (B, C, H, W) -> (B, h w, n).

    The n = p p' C values of a patch stand by row, column and channel, as in facebookresearch/mae.

    Args:
        image: (B, C, H, W).
        grid: rows h and columns w of patches, which divide H and W.
    """
    (rows, columns), (height, width) = grid, image.shape[2:]
    cells = image.unflatten(3, (columns, width // columns)).unflatten(2, (rows, height // rows))
    return cells.permute(0, 2, 4, 3, 5, 1).flatten(1, 2).flatten(2)  # (B, h w, p p' C)


def joined(patches: Tensor, grid: tuple[int, int], channels: int) -> Tensor:
    """The image of its patches, if they are square: (B, h w, p p C) -> (B, C, H, W).

    Args:
        patches: (B, h w, p p C), as `cut` gives them.
        grid: rows h and columns w.
        channels: C.
    """
    side = round((patches.shape[2] / channels) ** 0.5)
    cells = patches.unflatten(2, (side, side, channels)).unflatten(1, grid)
    return cells.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
