"""The fourteen operations of RandAugment in FixMatch, batched: one strength per image.

Cubuk et al. 2019, arXiv:1909.13719; operations and ranges of Sohn et al. 2020, arXiv:2001.07685,
appendix E, as PIL defines them. An operation takes images (N, C, H, W) in [0, 1] and strengths (N,)
in [-1, 1] and gives images in [0, 1]; the sign matters only to translations, shears and rotations.
Of four channels the operations in `COLOUR` change the first three, as PIL keeps transparency.
Departure: nothing is rounded to whole bytes between two operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.augment.colour import grey_weights, on_colour
from genlab.augment.draws import constant

Op = Callable[[Tensor, Tensor], Tensor]
SMOOTH = ((1, 1, 1), (1, 5, 1), (1, 1, 1))  # PIL's filter of that name


def identity(image: Tensor, strength: Tensor) -> Tensor:
    """Return the images as they are."""
    return image


def autocontrast(image: Tensor, strength: Tensor) -> Tensor:
    """Stretch each channel of each image to [0, 1]."""
    low, high = image.amin((2, 3), keepdim=True), image.amax((2, 3), keepdim=True)
    span = high - low
    return torch.where(span > 0, (image - low) / span.clamp(min=1e-6), image)


def equalize(image: Tensor, strength: Tensor) -> Tensor:
    """Give each channel of each image a flat histogram, in PIL's integer arithmetic."""
    level = to_bytes(image).long().flatten(2)  # (N, C, H W)
    counts = torch.zeros(*level.shape[:2], 256, dtype=torch.int64, device=image.device)
    counts.scatter_add_(2, level, torch.ones_like(level))
    last = counts.gather(2, level.amax(2, keepdim=True))  # of the brightest level that occurs
    step = (level.shape[2] - last) // 255
    table = ((counts.cumsum(2) - counts + step // 2) // step.clamp(min=1)).clamp_(max=255)
    equal = table.gather(2, level).view(image.shape) / 255
    return torch.where(step[..., None] > 0, equal, image)


def brightness(image: Tensor, strength: Tensor) -> Tensor:
    """Blend towards black."""
    return image * _factor(strength)


def color(image: Tensor, strength: Tensor) -> Tensor:
    """Blend towards grey; images without three channels stay as they are."""
    if image.shape[1] != 3:
        return image
    return torch.lerp(to_grey(image), image, _factor(strength))


def contrast(image: Tensor, strength: Tensor) -> Tensor:
    """Blend towards the image's mean grey."""
    return torch.lerp(to_grey(image).mean((2, 3), keepdim=True), image, _factor(strength))


def sharpness(image: Tensor, strength: Tensor) -> Tensor:
    """Blend towards a smoothed image; the outermost pixels stay as they are."""
    return torch.lerp(filtered(image, SMOOTH), image, _factor(strength))


def posterize(image: Tensor, strength: Tensor) -> Tensor:
    """Keep the first 4 to 8 bits of every byte."""
    step = 2.0 ** (4 - (4 * strength.abs() + 1e-4).floor())[:, None, None, None]
    return (to_bytes(image) / step).floor() * step / 255


def solarize(image: Tensor, strength: Tensor) -> Tensor:
    """Invert what is brighter than 1 - strength."""
    threshold = 256 - (256 * strength.abs() + 1e-4).floor()[:, None, None, None]
    return torch.where(to_bytes(image) >= threshold, 1 - image, image)


def rotate(image: Tensor, strength: Tensor) -> Tensor:
    """Rotate by up to 30 degrees about the centre, counter-clockwise if positive."""
    angle = strength * math.radians(30)
    cos, sin = angle.cos(), angle.sin()
    x, y = image.shape[3] / 2, image.shape[2] / 2
    across = (cos, -sin, x - cos * x + sin * y)
    return move(image, across, (sin, cos, y - sin * x - cos * y))


def shear_x(image: Tensor, strength: Tensor) -> Tensor:
    """Shift every row by up to 0.3 of its height to the left."""
    return move(image, (1.0, 0.3 * strength, 0.0), (0.0, 1.0, 0.0))


def shear_y(image: Tensor, strength: Tensor) -> Tensor:
    """Shift every column by up to 0.3 of its distance upwards."""
    return move(image, (1.0, 0.0, 0.0), (0.3 * strength, 1.0, 0.0))


def translate_x(image: Tensor, strength: Tensor) -> Tensor:
    """Translate by up to 0.3 of the width to the left, whole pixels."""
    return move(image, (1.0, 0.0, _pixels(strength, image.shape[3])), (0.0, 1.0, 0.0))


def translate_y(image: Tensor, strength: Tensor) -> Tensor:
    """Translate by up to 0.3 of the height upwards, whole pixels."""
    return move(image, (1.0, 0.0, 0.0), (0.0, 1.0, _pixels(strength, image.shape[2])))


OPS: dict[str, Op] = {
    op.__name__: op
    for op in (
        autocontrast, brightness, color, contrast, equalize, identity, posterize,
        rotate, sharpness, shear_x, shear_y, solarize, translate_x, translate_y,
    )
}  # fmt: skip


COLOUR = {"autocontrast", "brightness", "color", "contrast", "equalize", "invert", "posterize",
          "solarize"}  # fmt: skip


def by_operation(
    image: Tensor, op: Tensor, strength: Tensor, names: Sequence[str], ops: Mapping[str, Op] = OPS
) -> Tensor:
    """Apply to each image its own operation.

    Args:
        image: (N, C, H, W) in [0, 1].
        op: (N,) int64 on the CPU, numbers into ``names``, -1 for none.
        strength: (N,) or (N, S), arguments of the operations.
        names: keys of ``ops`` that ``op`` counts.
        ops: operations by name.

    Returns:
        (N, C, H, W) in [0, 1]; the argument is left as it is.
    """
    order = op.argsort(stable=True)
    sizes = sizes_of(op + 1, len(names) + 1)
    there = order.to(image.device, non_blocking=True)
    rows = there.split(sizes)[1:]
    strengths = strength.to(image, non_blocking=True)[there].split(sizes)[1:]
    out = image.clone()
    for name, chosen, much in zip(names, rows, strengths, strict=True):
        if len(chosen) and name != "identity":
            act = partial(on_colour, ops[name]) if name in COLOUR else ops[name]
            out.index_copy_(0, chosen, act(image[chosen], much))
    return out.clamp_(0, 1)


def sizes_of(number: Tensor, count: int) -> list[int]:
    """Frequency of each of 0 ... ``count`` - 1 in (N,) on the CPU: known without waiting."""
    sizes: list[int] = number.bincount(minlength=count).tolist()
    return sizes


def filtered(image: Tensor, weights: Sequence[Sequence[int]]) -> Tensor:
    """PIL's filters: an average by weights, (2 r + 1)^2 of them; r pixels at the borders stay."""
    c, reach = image.shape[1], len(weights) // 2
    kernel = constant(tuple(map(tuple, weights)), image.device, image.dtype)
    kernel = (kernel / sum(map(sum, weights))).expand(c, 1, -1, -1)
    out = image.clone()
    out[..., reach:-reach, reach:-reach] = F.conv2d(image, kernel, groups=c)
    return out


def _factor(strength: Tensor) -> Tensor:
    """0.05 to 0.95: how much of the image stays."""
    return (0.05 + 0.9 * strength.abs())[:, None, None, None]


def to_bytes(image: Tensor) -> Tensor:
    """[0, 1] to whole numbers 0 ... 255, still float."""
    return (image * 255).round_()


def _pixels(strength: Tensor, side: int) -> Tensor:
    return (0.3 * strength * side).trunc()


def to_grey(image: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, 1, H, W)."""
    weights = grey_weights(image.shape[1], image.device)
    return (image * weights[:, None, None]).sum(1, keepdim=True)


def move(
    image: Tensor, across: tuple[float | Tensor, ...], down: tuple[float | Tensor, ...]
) -> Tensor:
    """The nearest pixel at a x + b y + c of the input, black beyond it.

    Args:
        image: (N, C, H, W).
        across: a, b, c of the input's column, numbers or (N,), in pixels.
        down: coefficients of its row, likewise.
    """
    n, _, height, width = image.shape
    y = torch.arange(height, device=image.device)[:, None] + 0.5
    x = torch.arange(width, device=image.device) + 0.5
    planes = []
    for (a, b, c), side in ((across, width), (down, height)):
        a, b, c = (v[:, None, None] if isinstance(v, Tensor) else v for v in (a, b, c))
        planes.append(((a * x + b * y + c) * (2 / side) - 1).expand(n, height, width))
    grid = torch.stack(planes, 3).to(image.dtype)
    return F.grid_sample(image, grid, mode="nearest", padding_mode="zeros", align_corners=False)
