"""Summaries of feature maps that tell styles: Gram matrix, mean and deviation, histogram."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.evaluation.measured import Measured, images_of
from genlab.evaluation.probes import fixed_probe
from genlab.metrics import Bank
from genlab.networks import Encoder
from genlab.networks.encoders.stages import stage_maps

MOST, AMPLITUDE, STRENGTH, BINS, SHOWN = 1000, 0.15, 1e-3, 8, 8
REACH = 2.0  # standard deviations from the mean that a histogram spans
STYLES = {  # kernels that noise is smoothed by
    "white": [[1.0]],
    "rows": [[1.0, 1.0, 1.0]],
    "columns": [[1.0], [1.0], [1.0]],
    "falling": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "rising": [[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]],
}


def measure(method: Any, data: Any, judge: Any = None) -> Measured:
    """Accuracy of a probe that tells five textures by summaries of an encoder's first feature map.

    Each image gets noise of one of five textures, of the same mean and variance; the probe is
    trained on 1,000 training images and tested on as many test images, of digits or faces alike.

    Args:
        method: method with an ``encoder`` that has feature maps.
        data: data module.
        judge: None; it is not used.

    Logs:
        test/style_gram_top1 (fraction, higher): accuracy of a softmax regression on the products of
            channels, mean over places; of five textures.
        test/style_moments_top1 (fraction, higher): that of each channel's mean and deviation.
        test/style_histogram_top1 (fraction, higher): that of each channel's histogram of eight
            bins.
        test/style_content_top1 (fraction, higher): that of the map itself, place by place.

    Returns:
        These, and an image in each texture.

    Raises:
        ValueError: the method has no such encoder.

    Source: Gram matrices: Gatys, Ecker, Bethge 2015, arXiv:1508.06576; mean and deviation: Huang &
    Belongie 2017, arXiv:1703.06868.
    """
    encoder = getattr(method, "encoder", None)
    if not isinstance(encoder, Encoder):
        raise ValueError(f"{type(method).__name__} has no encoder whose maps can be read")
    made = [
        styled(images_of(method, data, split, MOST)[0], seed)
        for seed, split in enumerate(("train", "test"))
    ]
    maps = [
        torch.cat([stage_maps(encoder, encoder, part)[0] for part in image.split(500)]).detach()
        for image, _ in made
    ]
    if maps[0].ndim != 4:
        raise ValueError(f"{type(method).__name__} has no encoder whose maps can be read")
    mean, std = maps[0].mean((0, 2, 3), keepdim=True), maps[0].std((0, 2, 3), keepdim=True)
    scaled = [(x - mean) / std.clamp(min=1e-6) for x in maps]
    found = {}
    for name, summary in SUMMARIES.items():
        train, test = (
            Bank(summary(x).float().cpu(), style, torch.arange(len(style)))
            for x, (_, style) in zip(scaled, made, strict=True)
        )
        found[f"style_{name}_top1"] = fixed_probe(train, test, 1.0, STRENGTH)
    image = images_of(method, data, "test", SHOWN)[0]
    return Measured(found, {name: textured(image, name) for name in STYLES})


def styled(image: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Images with a texture each, in turn, and its number: -> (N, C, H, W), (N,) on the CPU."""
    style = torch.arange(len(image)) % len(STYLES)
    made = image.clone()
    for number, name in enumerate(STYLES):
        rows = style == number
        made[rows.to(image.device)] = textured(image[rows.to(image.device)], name, seed)
    return made, style


def textured(image: Tensor, name: str, seed: int = 0) -> Tensor:
    """Images with noise of a texture, of a standard deviation of 0.15, within [0, 1].

    Args:
        image: (B, C, H, W); the channels of an image get the same noise.
        name: texture.
        seed: seed of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    high, wide = image.shape[-2:]
    kernel = torch.tensor(STYLES[name])
    kernel = kernel / kernel.square().sum().sqrt()  # the variance stays 1
    noise = torch.randn(
        len(image), 1, high + kernel.shape[0] - 1, wide + kernel.shape[1] - 1, generator=generator
    )
    noise = F.conv2d(noise, kernel[None, None]).to(image)
    return (0.25 + image / 2 + AMPLITUDE * noise).clamp(0, 1)


def gram(x: Tensor) -> Tensor:
    """Products of channels, mean over places: (B, F, h, w) -> (B, F (F + 1) / 2), pairs once."""
    flat = x.flatten(2)
    products = flat @ flat.mT / flat.shape[2]
    rows, columns = torch.triu_indices(x.shape[1], x.shape[1], device=x.device)
    return products[:, rows, columns]


def moments(x: Tensor) -> Tensor:
    """Mean and standard deviation of each channel: (B, F, h, w) -> (B, 2F)."""
    flat = x.flatten(2)
    return torch.cat([flat.mean(2), flat.std(2, correction=0)], 1)


def histogram(x: Tensor) -> Tensor:
    """Shares of places whose value is in each of eight bins: (B, F, h, w) -> (B, 8F).

    Bins are equally wide from -2 to 2; what lies outside counts in the outermost.
    """
    place = ((x + REACH) / (2 * REACH) * BINS).floor().clamp(0, BINS - 1).long()
    return F.one_hot(place.flatten(2), BINS).float().mean(2).flatten(1)


def content(x: Tensor) -> Tensor:
    """The map itself: (B, F, h, w) -> (B, F h w)."""
    return x.flatten(1)


SUMMARIES: dict[str, Callable[[Tensor], Tensor]] = {
    "gram": gram,
    "moments": moments,
    "histogram": histogram,
    "content": content,
}
