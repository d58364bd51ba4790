"""The nineteen operations of CTAugment, batched: one level per image.

Berthelot et al. 2019 (ReMixMatch), arXiv:1911.09785, section 3.2 and appendix; names and ranges of
google-research/fixmatch, libml/ctaugment.py, as PIL defines them. An operation takes images (N, C,
H, W) in [0, 1] and ``given`` (N, 4) in [0, 1): its level, its second level, row and column of a
place. Its result may leave [0, 1] and is clamped before the next one.
Departures: nothing is rounded to whole bytes between two operations; a translation is by up to
0.3 of the side, as in the papers' tables: that code moves 0.3 pixels, which changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from genlab.augment import linear, ops
from genlab.augment.boxes import inside
from genlab.augment.draws import constant

GREY = 127 / 255
BLUR = ((1, 1, 1, 1, 1), (1, 0, 0, 0, 1), (1, 0, 0, 0, 1), (1, 0, 0, 0, 1), (1, 1, 1, 1, 1))
BINS: dict[str, tuple[int, ...]] = {  # into how many each level's range is cut
    "autocontrast": (17,), "blur": (17,), "brightness": (17,), "color": (17,), "contrast": (17,),
    "cutout": (17,), "equalize": (17,), "identity": (), "invert": (17,), "posterize": (8,),
    "rescale": (17, 6), "rotate": (17,), "sharpness": (17,), "shear_x": (17,), "shear_y": (17,),
    "smooth": (17,), "solarize": (17,), "translate_x": (17,), "translate_y": (17,),
}  # fmt: skip


def autocontrast(image: Tensor, given: Tensor) -> Tensor:
    """Blend in each channel of each image stretched to [0, 1]."""
    return torch.lerp(image, ops.autocontrast(image, given), _level(given))


def blur(image: Tensor, given: Tensor) -> Tensor:
    """Blend in the mean of a ring of 5 x 5 pixels."""
    return torch.lerp(image, ops.filtered(image, BLUR), _level(given))


def brightness(image: Tensor, given: Tensor) -> Tensor:
    """Blend towards black, or away from it."""
    return image * _factor(given)


def color(image: Tensor, given: Tensor) -> Tensor:
    """Blend towards grey, or away from it; images without three channels stay as they are."""
    return torch.lerp(ops.to_grey(image), image, _factor(given)) if image.shape[1] == 3 else image


def contrast(image: Tensor, given: Tensor) -> Tensor:
    """Blend towards the image's mean grey, or away from it."""
    return torch.lerp(ops.to_grey(image).mean((2, 3), keepdim=True), image, _factor(given))


def cutout(image: Tensor, given: Tensor) -> Tensor:
    """A grey square of up to half the side about a pixel, cut off at the borders."""
    side = constant(tuple(image.shape[2:]), image.device, torch.int64)
    half = ((1 + (given[:, :1] * (0.499 * min(image.shape[2:]))).long()) // 2).expand(-1, 2)
    centre = torch.minimum((given[:, 2:] * side).long(), side - 1)
    start, end = (centre - half).clamp(min=0), torch.minimum(centre + half, side)
    return torch.where(inside(torch.cat([start, end - start], 1), *image.shape[2:]), GREY, image)


def equalize(image: Tensor, given: Tensor) -> Tensor:
    """Blend in each channel of each image with a flat histogram."""
    return torch.lerp(image, ops.equalize(image, given), _level(given))


def identity(image: Tensor, given: Tensor) -> Tensor:
    """Return the images as they are."""
    return image


def invert(image: Tensor, given: Tensor) -> Tensor:
    """Blend in the negative."""
    return torch.lerp(image, 1 - image, _level(given))


def posterize(image: Tensor, given: Tensor) -> Tensor:
    """Keep the first 1 to 8 bits of every byte."""
    step = 2 ** (7 - (_level(given) * 7.999).floor())
    return (ops.to_bytes(image) / step).floor() * step / 255


def rescale(image: Tensor, given: Tensor) -> Tensor:
    """Enlarge the middle, at least half of each side, by one of six interpolations."""
    which = (given[:, 1] * 6).long().clamp(max=5)
    rows, columns = (_enlarge(side, 0.25 * given[:, 0], which) for side in image.shape[2:])
    return linear.separable(image, rows.to(image), columns.to(image))


def rotate(image: Tensor, given: Tensor) -> Tensor:
    """Rotate by up to 45 whole degrees about the centre, either way."""
    return ops.rotate(image, (_either(given) * 45).round() / 30)


def sharpness(image: Tensor, given: Tensor) -> Tensor:
    """Blend towards a smoothed image, or away from it."""
    return torch.lerp(ops.filtered(image, ops.SMOOTH), image, _factor(given))


def shear_x(image: Tensor, given: Tensor) -> Tensor:
    """Shift every row by up to 0.3 of its height, either way."""
    return ops.shear_x(image, _either(given))


def shear_y(image: Tensor, given: Tensor) -> Tensor:
    """Shift every column by up to 0.3 of its distance, either way."""
    return ops.shear_y(image, _either(given))


def smooth(image: Tensor, given: Tensor) -> Tensor:
    """Blend in a weighted mean of 3 x 3 pixels."""
    return torch.lerp(image, ops.filtered(image, ops.SMOOTH), _level(given))


def solarize(image: Tensor, given: Tensor) -> Tensor:
    """Invert what is as bright as the level, or brighter."""
    threshold = (_level(given) * 255.999).floor()
    return torch.where(ops.to_bytes(image) >= threshold, 1 - image, image)


def translate_x(image: Tensor, given: Tensor) -> Tensor:
    """Translate by up to 0.3 of the width, either way, whole pixels."""
    return ops.translate_x(image, _either(given))


def translate_y(image: Tensor, given: Tensor) -> Tensor:
    """Translate by up to 0.3 of the height, either way, whole pixels."""
    return ops.translate_y(image, _either(given))


CT_OPS: dict[str, ops.Op] = {name: globals()[name] for name in BINS}


def _level(given: Tensor) -> Tensor:
    """(N, 1, 1, 1)."""
    return given[:, 0, None, None, None]


def _either(given: Tensor) -> Tensor:
    """(N,) in [-1, 1)."""
    return 2 * given[:, 0] - 1


def _factor(given: Tensor) -> Tensor:
    """0.1 to 2: how much of the image stays, or is too much."""
    return 0.1 + 1.9 * _level(given)


def _enlarge(side: int, margin: Tensor, which: Tensor) -> Tensor:
    """Matrices that enlarge a window to ``side`` pixels, each image by its own interpolation.

    Args:
        side: side of the image in pixels.
        margin: (N,) share of the side that is left out at each end.
        which: (N,) number into `FILTERS`.

    Returns:
        (N, side, side), rows sum to 1; as PIL's resize of a crop.
    """
    start, end = (margin * side).round()[:, None], ((1 - margin) * side).round()[:, None]
    middle = torch.arange(side, device=margin.device) + 0.5
    centre = start + middle * ((end - start) / side)  # (N, side)
    distance = middle - centre[:, :, None]  # (N, out, in)
    rows = torch.arange(len(which), device=which.device)
    weight = torch.stack([f(distance) for f in FILTERS], 1)[rows, which]
    weight = weight * ((middle > start) & (middle < end))[:, None]
    return weight / weight.sum(2, keepdim=True)


def _lanczos(x: Tensor) -> Tensor:
    return torch.where(x.abs() < 3, torch.sinc(x) * torch.sinc(x / 3), 0.0)


def _bicubic(x: Tensor) -> Tensor:
    x = x.abs()
    near, far = (1.5 * x - 2.5) * x * x + 1, -0.5 * (((x - 5) * x + 8) * x - 4)
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))


def _bilinear(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _box(x: Tensor) -> Tensor:
    """The box filter; where an image is enlarged, also the nearest pixel."""
    return ((x > -0.5) & (x <= 0.5)).to(x.dtype)


def _hamming(x: Tensor) -> Tensor:
    window = 0.54 + 0.46 * torch.cos(math.pi * x)
    return torch.where(x.abs() < 1, torch.sinc(x) * window, 0.0)


FILTERS: tuple[Callable[[Tensor], Tensor], ...] = (
    _lanczos, _bicubic, _bilinear, _box, _hamming, _box,
)  # fmt: skip
