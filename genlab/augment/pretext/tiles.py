"""Tiles cut out of images, and what keeps their borders and channels from telling their places."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.augment.colour import grey_weights, on_some
from genlab.augment.draws import Params, Shape, coin, whole
from genlab.augment.geometry import translate

GAP = 2  # pixels between tiles that are shown together


def cut(image: Tensor, corner: Tensor, side: int) -> Tensor:
    """Square windows, copied: (B, C, H, W), (B, n, 2) top and left -> (B, n, C, side, side)."""
    offset = torch.arange(side, device=image.device)
    rows, columns = (c[:, :, None] + offset for c in corner.unbind(2))  # 2 x (B, n, side)
    images = torch.arange(len(image), device=image.device)[:, None, None, None]
    tiles = image.permute(0, 2, 3, 1)[images, rows[..., None], columns[:, :, None]]
    return tiles.permute(0, 1, 4, 2, 3)


def cell_corners(shape: Shape, grid: int, side: int, generator: torch.Generator) -> Tensor:
    """Corners of one tile in each cell of a grid, at a random place of its own: (N, grid^2, 2).

    Args:
        shape: (N, C, H, H) of the images.
        grid: cells along a side, of H // grid pixels; what is left over surrounds them.
        side: side of a tile in pixels.
        generator: generator of the draws.
    """
    cell = shape[-1] // grid
    margin = (shape[-1] - grid * cell) // 2
    first = torch.arange(grid, device=generator.device) * cell + margin
    corner = torch.cartesian_prod(first, first)  # (grid^2, 2): row by row
    slack = torch.full((shape[0], grid**2, 2), cell - side, device=generator.device)
    return corner + whole(slack, generator)


def standardised(tiles: Tensor) -> Tensor:
    """Each channel of each tile (..., h, w) with mean 0, standard deviation 1; of a flat one 0."""
    mean, std = own_scale(tiles)
    return (tiles - mean) / std


def own_scale(tiles: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, 1 of a flat one, of each channel: 2 x (..., 1, 1)."""
    mean = tiles.mean((-2, -1), keepdim=True)
    std = (tiles - mean).square().mean((-2, -1), keepdim=True).sqrt()
    return mean, torch.where(std > 1e-4, std, 1.0)


def draw_colour_guard(n: int, grey: float, shift: int, generator: torch.Generator) -> Params:
    """Images that become grey, and by how many pixels each channel of the others moves."""
    span = torch.full((n, 3, 2), 2 * shift, device=generator.device)
    return {"grey": coin(n, grey, generator), "shift": whole(span, generator) - shift}


def colour_guard(image: Tensor, drawn: Params, most: int) -> Tensor:
    """Hide chromatic aberration, which tells the place of a tile in the image.

    Args:
        image: (N, 3, H, W); images of other channels come back as they are.
        drawn: see `draw_colour_guard`.
        most: the largest shift drawn, in pixels.
    """
    if image.shape[1] != 3:
        return image
    weights = grey_weights(3, image.device).to(image.dtype)

    def to_grey(colour: Tensor) -> Tensor:
        return (colour * weights[:, None, None]).sum(1, keepdim=True).expand_as(colour)

    image = on_some(image.clone(), drawn["grey"], to_grey)
    if not most:
        return image
    shift = drawn["shift"]
    moved = [translate(image[:, c : c + 1], shift[:, c], most, "reflect") for c in range(3)]
    return torch.cat(moved, 1)


def assembled(tiles: Tensor, grid: int) -> Tensor:
    """Tiles in rows with gaps, for an image: (B, grid^2, C, t, t) in [0, 1] -> (B, C, H, H)."""
    apart = F.pad(tiles, (0, GAP, 0, GAP), value=0.5).unflatten(1, (grid, grid))
    b, _, _, c, t, _ = apart.shape
    return apart.permute(0, 3, 1, 4, 2, 5).reshape(b, c, grid * t, grid * t)[..., :-GAP, :-GAP]


def neighbour_corners(
    shape: Shape, side: int, gap: int, jitter: int, generator: torch.Generator
) -> Tensor:
    """Corners of 3 x 3 patches with gaps, row by row, each moved a little: (N, 9, 2).

    Args:
        shape: (N, C, H, H) of the images; H is at least 3 side + 2 gap + 2 jitter.
        side: side of a patch in pixels.
        gap: pixels between two patches before they move.
        jitter: largest move of a patch, up, down, left or right.
        generator: generator of the draws.
    """
    step = torch.arange(3, device=generator.device) * (side + gap)
    room = shape[-1] - 3 * side - 2 * gap - 2 * jitter
    place = torch.full((shape[0], 1, 2), room, device=generator.device)
    move = torch.full((shape[0], 9, 2), 2 * jitter, device=generator.device)
    return torch.cartesian_prod(step, step) + whole(place, generator) + whole(move, generator)


def draw_patch_guard(
    shape: Shape, count: int, side: int, blurred: float, generator: torch.Generator
) -> Params:
    """For ``count`` patches of each image: the channel that stays, noise, and which to blur."""
    n = shape[0]
    last = torch.full((n, count), shape[1] - 1, device=generator.device)
    noise = torch.randn(
        (n, count, shape[1], side, side), generator=generator, device=generator.device
    )
    return {
        "channel": whole(last, generator),
        "noise": noise,
        "blurred": coin(n * count, blurred, generator).view(n, count),
    }


def patch_guard(patches: Tensor, drawn: Params, drop: bool, noise: float = 0.01) -> Tensor:
    """Hide what tells the place of a patch: sharpness, brightness, and how channels are apart.

    Some patches are halved in size and enlarged again; all are standardised; of several channels
    one stays and noise replaces the others.

    Args:
        patches: (B, n, C, t, t).
        drawn: see `draw_patch_guard`.
        drop: True to drop channels.
        noise: standard deviation of the noise, as a share of the patch's.
    """
    flat = patches.flatten(0, 1)
    soft = F.interpolate(F.avg_pool2d(flat, 2, ceil_mode=True), flat.shape[-2:], mode="bilinear")
    soft = torch.where(drawn["blurred"].flatten()[:, None, None, None], soft, flat)
    patches = standardised(soft.unflatten(0, patches.shape[:2]))
    if not drop or patches.shape[2] == 1:
        return patches
    channels = torch.arange(patches.shape[2], device=patches.device)
    kept = (channels == drawn["channel"][:, :, None])[..., None, None]
    return torch.where(kept, patches, noise * drawn["noise"].to(patches.dtype))
