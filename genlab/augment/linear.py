"""Crops, resizes and blurs: operations linear in the pixels, one draw per image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def resized_crop(image: Tensor, boxes: Tensor, flipped: Tensor, size: int) -> Tensor:
    """Crop each image to its box, resize and mirror it, in one resampling.

    Args:
        image: (N, C, H, W).
        boxes: (N, 4) int64: top, left, height, width.
        flipped: (N,) bool.
        size: side of the result, pixels.

    Returns:
        (N, C, size, size). As `torchvision`'s resized_crop, bilinear with antialias.
    """
    top, left, tall, wide = boxes.unbind(1)
    height, width = image.shape[2:]
    if size >= max(height, width):  # no box is longer: nothing to antialias
        y = _places(top, tall, height, size)
        x = _places(left, wide, width, size)
        x = torch.where(flipped[:, None], x.flip(1), x)
        grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), 3)
        return F.grid_sample(image, grid, padding_mode="border", align_corners=False)
    columns = resize_matrix(left, wide, width, size)
    columns = torch.where(flipped[:, None, None], columns.flip(1), columns)
    return separable(image, resize_matrix(top, tall, height, size), columns)


def _places(start: Tensor, length: Tensor, source: int, out: int) -> Tensor:
    """Sampling positions of ``out`` pixels along a side of ``source``, (N, out) in [-1, 1].

    They stay between the centres of the window's first and last pixel: nothing outside counts.
    """
    first, length = start[:, None] + 0.5, length[:, None]
    offset = (torch.arange(out, device=start.device) + 0.5) * (length / out) - 0.5
    return (first + torch.minimum(offset.clamp(min=0), length - 1)) * (2 / source) - 1


def separable(image: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(N, C, H, W), (N, h, H), (N, w, W) -> (N, C, h, w)."""
    n, c, height, width = image.shape
    across = image.reshape(n, c * height, width) @ columns.transpose(1, 2)  # (N, C H, w)
    return rows[:, None] @ across.view(n, c, height, -1)


def resize_matrix(start: Tensor, length: Tensor, source: int, out: int) -> Tensor:
    """Matrices that resize each image's window of ``source`` pixels to ``out`` pixels.

    Bilinear; antialiased by a wider triangle where the window is longer than ``out``. Pixels
    outside the window do not count, as if the window had been cropped first.

    Args:
        start: (N,) first pixel of the window.
        length: (N,) its length.
        source: pixels of the image along this side.
        out: pixels of the result along this side.

    Returns:
        (N, out, source) float32, rows sum to 1. As `torchvision`'s resize with antialias.
    """
    place = torch.arange(source, device=start.device) + 0.5 - start[:, None]  # (N, source)
    scale = (length / out)[:, None]
    centre = (torch.arange(out, device=start.device) + 0.5) * scale  # (N, out)
    distance = (place[:, None, :] - centre[:, :, None]).div_(scale.clamp(min=1)[:, :, None])
    weight = distance.abs_().neg_().add_(1).clamp_(min=0)
    weight.mul_(((place > 0) & (place < length[:, None]))[:, None, :])
    return weight.div_(weight.sum(2, keepdim=True))


def blur(image: Tensor, sigma: Tensor, reach: int) -> Tensor:
    """Gaussian blur, truncated ``reach`` pixels from its centre, borders reflected.

    Args:
        image: (N, C, H, W), sides longer than ``reach``.
        sigma: (N,) standard deviations in pixels.
        reach: (kernel size - 1) / 2.

    Returns:
        Same shape. As `torchvision`'s gaussian_blur.
    """
    height, width = image.shape[2:]
    offset = torch.arange(reach + 1, device=sigma.device)
    weight = torch.exp(-0.5 * (offset / sigma[:, None]) ** 2)
    weight = weight / (2 * weight.sum(1, keepdim=True) - weight[:, :1])
    taps = [w[:, None, None, None] for w in weight.unbind(1)]
    image = F.pad(image, (reach,) * 4, mode="reflect")
    for axis, length in ((2, height), (3, width)):
        sum_ = image.narrow(axis, reach, length) * taps[0]
        for k in range(1, reach + 1):
            for start in (reach - k, reach + k):
                sum_.addcmul_(image.narrow(axis, start, length), taps[k])
        image = sum_
    return image
