"""Colour jitter, greyscale and solarisation, one draw per image.

Brightness, contrast, saturation and greyscale are affine maps of an image's colours, so that a
batch in which every image has another operation is one batched matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genlab.augment.draws import Params, coin, uniform

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
GREY = (0.299, 0.587, 0.114)  # ITU-R 601


def draw_jitter(
    n: int, strength: Sequence[float], chance: float, grey: float, generator: torch.Generator
) -> Params:
    """Factors as `torchvision.transforms.ColorJitter` draws them, in an order per image.

    Args:
        n: images.
        strength: of brightness, contrast, saturation (factor uniform in max(0, 1 - s) ... 1 + s)
            and hue (turns, uniform in -s ... s).
        chance: of jitter at all, per image.
        grey: chance of greyscale afterwards.
        generator: of the draws.

    Returns:
        ``factor`` (N, 4), ``order`` (N, 4) of the operations, ``grey`` (N,) bool.
    """
    low = [max(0.0, 1 - s) for s in strength[:3]] + [-strength[HUE]]
    high = [1 + s for s in strength[:3]] + [strength[HUE]]
    ends = torch.tensor([low, high], device=generator.device)
    unit = torch.rand((n, 4), generator=generator, device=generator.device)
    factor = ends[0] + unit * (ends[1] - ends[0])
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0], device=generator.device)
    factor = torch.where(coin(n, chance, generator)[:, None], factor, neutral)
    order = uniform((n, 4), 0, 1, generator).argsort(1)
    return {"factor": factor, "order": order, "grey": coin(n, grey, generator)}


def jitter(image: Tensor, factor: Tensor, order: Tensor, grey: Tensor) -> Tensor:
    """What was drawn, done; images of other than three channels know no saturation and no hue.

    At each of four steps every image has its own operation: an affine map of its colours for all
    at once, and the hue for those whose turn it is.

    Args:
        image: (N, C, H, W) in [0, 1].
        factor: (N, 4), see `draw_jitter`.
        order: (N, 4), likewise.
        grey: (N,) bool, likewise.

    Returns:
        Same shape, in [0, 1].

    Source: Howard 2013, arXiv:1312.5402; torchvision's ColorJitter and RandomGrayscale.
    """
    colours = image.shape[1]
    now, then = image.flatten(2), torch.empty_like(image.flatten(2))  # (N, C, H W)
    for step in range(4):
        kind = order[:, step]
        value = factor.gather(1, kind[:, None])[:, 0]
        torch.baddbmm(*_map(now, kind, value), now, out=then)
        now, then = then.clamp_(0, 1), (torch.empty_like(then) if step == 0 else now)
        if colours == 3:
            _turn_some(now.view(image.shape), (kind == HUE) & (value != 0), value)
    if colours == 3:
        matrix, shift = _towards_grey(now, 1 - grey.float())
        now = torch.baddbmm(shift, matrix, now, out=then)
    return now.view(image.shape)


def _map(image: Tensor, kind: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Each image's brightness, contrast or saturation (N,) as shift (N, C, 1), matrix (N, C, C)."""
    colours = image.shape[1]
    brightness, contrast, saturation = (
        torch.where(kind == name, value, 1.0) for name in (BRIGHTNESS, CONTRAST, SATURATION)
    )
    pivot = (1 - contrast) * (image.mean(2) @ grey_weights(colours, image.device))  # (N,)
    shift = pivot[:, None, None].expand(-1, colours, 1)
    if colours == 3:
        matrix, _ = _towards_grey(image, saturation)
    else:
        matrix = torch.eye(colours, device=image.device).repeat(len(image), 1, 1)
    return shift, (brightness * contrast)[:, None, None] * matrix


def _towards_grey(image: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
    """Mix every colour with its grey: ``keep`` (N,) 1 leaves it, 0 makes it grey."""
    grey = grey_weights(3, image.device).expand(3, 3)
    matrix = torch.lerp(grey, torch.eye(3, device=image.device), keep[:, None, None])
    return matrix, torch.zeros(len(image), 3, 1, device=image.device)


def grey_weights(colours: int, device: torch.device) -> Tensor:
    """What each colour adds to the grey value, (C,)."""
    return torch.tensor(GREY if colours == 3 else (1 / colours,) * colours, device=device)


def _turn_some(image: Tensor, chosen: Tensor, turns: Tensor) -> None:
    """Turn the hue of the images ``chosen`` (N,) bool, in place.

    On an accelerator all are computed and most thrown away: choosing would halt it.
    """
    if image.device.type == "cpu":
        rows = chosen.nonzero()[:, 0]
        image.index_copy_(0, rows, turn_hue(image[rows], turns[rows]))
    else:
        turned = turn_hue(image, turns)
        image.copy_(torch.where(chosen[:, None, None, None], turned, image))


def turn_hue(image: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of HSV, with value and saturation kept: (N, 3, H, W), (N,) -> (N, 3, H, W).

    As torchvision's adjust_hue. The hexagon's six sides are piecewise linear in the hue, so red is
    |h - 3| - 1, green 2 - |h - 2|, blue 2 - |h - 4|, each cut to [0, 1].
    """
    red, green, blue = image.unbind(1)
    value, least = image.amax(1), image.amin(1)
    chroma = value - least
    hue = (red - green).add_(chroma, alpha=4)  # times chroma; right where blue is largest
    hue.lerp_((blue - red).add_(chroma, alpha=2), green.clone().eq_(value))  # a mask of 0 and 1
    hue.lerp_(green - blue, red.clone().eq_(value))  # red goes first among equals
    hue.div_(chroma.clamp(min=1e-8)).add_(6 * turns[:, None, None])
    hue.sub_(hue.div(6).floor_().mul_(6))  # into [0, 6)
    out = torch.empty_like(image)
    sides = (
        (hue - 3).abs_().sub_(1),
        (hue - 2).abs_().neg_().add_(2),
        (hue - 4).abs_().neg_().add_(2),
    )
    for channel, side in enumerate(sides):
        torch.addcmul(least, chroma, side.clamp_(0, 1), out=out[:, channel])
    return out


def solarise(image: Tensor, chosen: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert what is brighter than ``threshold`` in the images ``chosen`` (N,) bool."""
    inverted = torch.where(image >= threshold, 1 - image, image)
    return torch.where(chosen[:, None, None, None], inverted, image)
