"""Colour jitter, greyscale and solarisation, one draw per image.

Brightness, contrast and saturation are one formula with different factors, so that a batch in
which every image has another operation is still one pass. Of four channels, colour and
transparency, the first three are colour: callers give those, see `colour_of` and `on_colour`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from genlab.augment.draws import Params, coin, constant, uniform
from genlab.internals import torch_parts

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
Change = Callable[..., Tensor]
GREY = (0.299, 0.587, 0.114)  # ITU-R 601


def colour_of(image: Tensor) -> Tensor:
    """The first three of four channels of images (N, C, H, W), not copied; else all of them."""
    return image[:, :3] if image.shape[1] == 4 else image


def on_colour(change: Change, image: Tensor, *arguments: Tensor) -> Tensor:
    """``change`` of images (N, C, H, W); of four channels the fourth stays as it is."""
    changed = change(colour_of(image), *arguments)
    return torch.cat([changed, image[:, 3:]], 1) if image.shape[1] == 4 else changed


def draw_jitter(
    n: int, strength: Sequence[float], chance: float, grey: float, generator: torch.Generator
) -> Params:
    """Factors as `torchvision.transforms.ColorJitter` draws them, in an order per image.

    Args:
        n: number of images.
        strength: strengths of brightness, contrast, saturation (factor uniform in
            max(0, 1 - s) ... 1 + s) and hue (turns, uniform in -s ... s).
        chance: probability of any jitter, per image.
        grey: chance of greyscale afterwards.
        generator: random generator of the draws.

    Returns:
        ``factor`` (N, 4), ``order`` (N, 4) of the operations, ``grey`` (N,) bool.
    """
    low = [max(0.0, 1 - s) for s in strength[:3]] + [-strength[HUE]]
    high = [1 + s for s in strength[:3]] + [strength[HUE]]
    ends = constant((tuple(low), tuple(high)), generator.device, torch.float32)
    unit = torch.rand((n, 4), generator=generator, device=generator.device)
    factor = ends[0] + unit * (ends[1] - ends[0])
    neutral = constant((1.0, 1.0, 1.0, 0.0), generator.device, torch.float32)
    factor = torch.where(coin(n, chance, generator)[:, None], factor, neutral)
    order = uniform((n, 4), 0, 1, generator).argsort(1)
    return {"factor": factor, "order": order, "grey": coin(n, grey, generator)}


def jitter(image: Tensor, factor: Tensor, order: Tensor, grey: Tensor) -> Tensor:
    """Apply drawn jitter in place; saturation and hue leave images without three channels alone.

    At each of four steps every image has its own operation: one scaling of the whole batch, then
    the hue of the images whose turn it is.

    Args:
        image: (N, C, H, W) in [0, 1], overwritten.
        factor: (N, 4), see `draw_jitter`.
        order: (N, 4), likewise.
        grey: (N,) bool, likewise.

    Returns:
        ``image``, in [0, 1].

    Source: Howard 2013, arXiv:1312.5402; torchvision's ColorJitter and RandomGrayscale.
    """
    colour = image.shape[1] == 3
    value = factor.gather(1, order)  # (N, 4 steps)
    hue = order == HUE
    scaled = ~hue & (value != 1) if colour else (order < SATURATION) & (value != 1)
    scale = torch.where(scaled, value, 1.0)
    by_pixel, by_mean = (1 - scale) * (order == SATURATION), (1 - scale) * (order == CONTRAST)
    for step in range(4):
        if _any_of(scaled[:, step]):
            scale_about_grey(image, scale[:, step], by_pixel[:, step], by_mean[:, step])
        if colour:
            on_some(image, hue[:, step] & (value[:, step] != 0), turn_hue, value[:, step])
    if colour:
        on_some(image, grey, _to_grey)
    return image


def scale_about_grey(image: Tensor, scale: Tensor, by_pixel: Tensor, by_mean: Tensor) -> Tensor:
    """The image times ``scale``, plus ``by_pixel`` of its grey, plus ``by_mean`` of its mean grey.

    In place, (N, C, H, W) in [0, 1] and three (N,): brightness is (f, 0, 0), contrast
    (f, 0, 1 - f), saturation (f, 1 - f, 0).
    """
    plus = _grey_value(image)  # (N, H, W)
    mean = plus.mean((1, 2)).mul_(by_mean)
    plus.mul_(by_pixel[:, None, None]).add_(mean[:, None, None])
    return torch.addcmul(plus[:, None], image, scale[:, None, None, None], out=image).clamp_(0, 1)


def grey_weights(colours: int, device: torch.device) -> Tensor:
    """Weights of the channels in the grey value, (C,)."""
    return constant(_weights(colours), device, torch.float32)


def _weights(colours: int) -> tuple[float, ...]:
    return GREY if colours == 3 else (1 / colours,) * colours


def _grey_value(image: Tensor) -> Tensor:
    """(N, C, H, W) -> (N, H, W)."""
    first, *others = zip(image.unbind(1), _weights(image.shape[1]), strict=True)
    grey = first[0] * first[1]
    for channel, weight in others:
        grey.add_(channel, alpha=weight)
    return grey


def _to_grey(image: Tensor) -> Tensor:
    """(N, C, H, W) in [0, 1], overwritten with its grey in every channel."""
    return image.copy_(_grey_value(image).clamp_(0, 1)[:, None])


def turn_hue(image: Tensor, turns: Tensor) -> Tensor:
    """Turn the hue of HSV in place, with value and saturation kept: (N, 3, H, W), (N,) turns.

    As torchvision's adjust_hue, without its six cases. With r, g, b the shares of the chroma by
    which the channels exceed the smallest, the hue is 1 + g + b - r sixths of a turn from red,
    towards green or blue. A channel d sixths ahead of the hue has the share 2 - d, cut to [0, 1].
    """
    red, green, blue = image.unbind(1)
    chroma = torch.maximum(red, green)
    torch.maximum(chroma, blue, out=chroma)
    least = torch.minimum(red, green)
    torch.minimum(least, blue, out=least)
    chroma.sub_(least)
    hue = (green + blue).sub_(red).sub_(least).div_(chroma.clamp(min=1e-8)).add_(1)  # 0 ... 3
    hue.copysign_(green - blue)  # -3 ... 3
    ahead = 6 * turns[:, None] - 2 * torch.arange(3, device=image.device)
    ahead = (ahead + 3).remainder(6).sub(3)  # (N, 3), -3 ... 3
    torch.add(hue[:, None], ahead[:, :, None, None], out=image)  # its size is d, or 6 - d
    image.abs_().sub_(3).abs_().clamp_(1, 2)  # 3 - d, cut
    least.sub_(chroma)
    return torch.addcmul(least[:, None], image, chroma[:, None], out=image).clamp_(0, 1)


def solarise(image: Tensor, chosen: Tensor, threshold: float = 0.5) -> Tensor:
    """Invert in place what is brighter than ``threshold`` in the images ``chosen`` (N,) bool."""
    return on_some(image, chosen, lambda x: torch.where(x >= threshold, 1 - x, x))


def on_some(image: Tensor, chosen: Tensor, change: Change, *rows: Tensor) -> Tensor:
    """``change`` the images ``chosen`` (N,) bool in place.

    On an accelerator all images are computed and the rest discarded: selecting would stall it.

    Args:
        image: (N, C, H, W), overwritten.
        chosen: (N,) bool.
        change: function of images (n, C, H, W), which it may overwrite, and n of each of ``rows``.
        rows: (N, ...) each.

    Returns:
        ``image``.
    """
    if not torch_parts.on_host(image):
        changed = change(image.clone(), *rows)
        return image.copy_(torch.where(chosen[:, None, None, None], changed, image))
    where = chosen.nonzero()[:, 0]
    count = len(where)
    if not count:
        return image
    first, last = int(where[0]), int(where[-1]) + 1
    if last - first == count:  # no gaps: a slice will do
        some = image[first:last]
        some.copy_(change(some, *(r[first:last] for r in rows)))  # nothing to copy if in place
        return image
    changed = change(image.index_select(0, where), *(r[where] for r in rows))
    return image.index_copy_(0, where, changed)


def _any_of(chosen: Tensor) -> bool:
    if not torch_parts.on_host(chosen):
        return True  # work that may be for nothing
    return bool(chosen.any())
