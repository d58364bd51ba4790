"""Square holes in images, and what is put into them."""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.augment.boxes import inside
from genlab.augment.draws import Shape, constant, whole


def hole_boxes(shape: Shape, side: int, centred: bool, generator: torch.Generator) -> Tensor:
    """A square for each image: (N, 4) int64: top, left, height, width.

    Args:
        shape: (N, C, H, W) of the images.
        side: side of the square in pixels.
        centred: True for the middle of the image, False for a place drawn uniformly.
        generator: generator of the draws.
    """
    most = (shape[2] - side, shape[3] - side)
    room = constant(most, generator.device, torch.int64).expand(shape[0], 2)
    corner = whole(room, generator)
    corner = room // 2 if centred else corner
    return torch.cat([corner, torch.full_like(corner, side)], 1)


def shrunk(boxes: Tensor, margin: int) -> Tensor:
    """Boxes (N, 4) without a ring of ``margin`` pixels."""
    corner, size = boxes.split(2, 1)
    return torch.cat([corner + margin, size - 2 * margin], 1)


def hole_weights(boxes: Tensor, ring: int, weight: float, height: int, width: int) -> Tensor:
    """Weight of each pixel in the loss: 1 in the hole, ``weight`` in its ring, 0 elsewhere.

    (N, 4) -> (N, 1, height, width).
    """
    outer, inner = inside(boxes, height, width), inside(shrunk(boxes, ring), height, width)
    return torch.where(inner, 1.0, weight) * outer


def filled(image: Tensor, hidden: Tensor) -> Tensor:
    """Hidden pixels replaced by the mean of the image's visible ones, channel by channel.

    Args:
        image: (N, C, H, W).
        hidden: (N, 1, H, W) bool.
    """
    seen = (~hidden).to(image.dtype)
    mean = (image * seen).sum((2, 3)) / seen.sum((2, 3)).clamp(min=1)  # (N, C)
    return torch.where(hidden, mean[:, :, None, None], image)
