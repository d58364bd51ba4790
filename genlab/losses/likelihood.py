"""Likelihoods of pixels given a decoder's maps: complete, in nats, summed over the image.

Constants are kept: a Gaussian without its D/2 log(2 pi sigma^2) is off by 720 nats at 784 pixels
and cannot be compared with anything. Shapes: maps (..., C, H, W) against pixels (..., C, H, W)
give (...,); K samples for every image, maps (K, B, ...) against (B, ...), give (K, B).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab.losses.numbers import as_tensor_of, precise

LIKELIHOODS = ("bernoulli", "gaussian", "discretized_logistic")
NARROWEST = {
    "gaussian": -math.log(256),
    "discretized_logistic": -7.0,
}  # floors of learned log-scales


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x) of independent Bernoulli pixels: (..., C, H, W), (..., C, H, W) -> (...,).

    For grey x in [0, 1] it is the cross entropy, not a likelihood, and not comparable to one.
    """
    logits = precise(logits)
    x = x.to(logits.dtype)
    if logits.shape == x.shape:  # fused, and faster with its gradient
        return _sum(F.binary_cross_entropy_with_logits(logits, x, reduction="none"))
    return _sum(F.softplus(logits) - x * logits)


def gaussian_nll(mean: Tensor, x: Tensor, log_scale: Tensor | float = 0.0) -> Tensor:
    """-log p(x) of independent normal pixels with standard deviation e^log_scale: -> (...,).

    Args:
        mean: (..., C, H, W).
        x: (..., C, H, W).
        log_scale: a number or a tensor that broadcasts to ``mean``.
    """
    mean = precise(mean)
    log_scale = as_tensor_of(mean, log_scale)
    per_pixel = 0.5 * ((x - mean) * (-log_scale).exp()).square() + log_scale
    return _sum(per_pixel + 0.5 * math.log(2 * math.pi))


def discretized_logistic_nll(mean: Tensor, x: Tensor, log_scale: Tensor | float) -> Tensor:
    """-log P(pixel) of a logistic cut into 256 cells with open ends: -> (...,).

    Args:
        mean: centre in [-1, 1] units, (..., C, H, W).
        x: pixels in [0, 1], multiples of 1/255.
        log_scale: log of the logistic's scale in [-1, 1] units; a number or broadcastable.

    Source: Salimans et al. 2017 (PixelCNN++), arXiv:1701.05517, one component. The 256 cells sum
    to 1 exactly; with u, l a cell's standardised edges,

        log(sigmoid(u) - sigmoid(l)) = log sigmoid(u) + log sigmoid(-l) + log(1 - e^(l - u))

    is exact and loses no digits in the tails, where the difference itself would be 0.
    Departure: no second branch (density times width) for very unlikely cells.
    """
    mean = precise(mean)
    log_scale = as_tensor_of(mean, log_scale)
    centre = 2 * x.to(mean.dtype) - 1 - mean
    per_scale = (-log_scale).exp()
    upper, lower = (centre + 1 / 255) * per_scale, (centre - 1 / 255) * per_scale
    width = torch.log(-torch.expm1(-2 / 255 * per_scale))
    inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + width
    darkest, brightest = x < 0.5 / 255, x > 254.5 / 255
    log_p = torch.where(darkest, F.logsigmoid(upper), inside)
    log_p = torch.where(brightest, F.logsigmoid(-lower), log_p)
    return -_sum(log_p)


def maps_per_channel(likelihood: str, scale: float | str) -> int:
    """Number of maps that a decoder gives for each channel.

    Raises:
        ValueError: unknown likelihood or scale.
    """
    if likelihood not in LIKELIHOODS:
        raise ValueError(f"unknown likelihood {likelihood!r}; choose from {', '.join(LIKELIHOODS)}")
    if isinstance(scale, str) and scale not in ("shared", "pixel"):
        raise ValueError(f"scale {scale!r} is neither a number nor shared nor pixel")
    if not isinstance(scale, str) and scale <= 0:
        raise ValueError(f"scale {scale} must be > 0")
    if likelihood == "gaussian" and not isinstance(scale, str) and scale < 1 / 256:
        raise ValueError(f"scale {scale} of a Gaussian must be at least 1/256, a grey level")
    return 2 if likelihood != "bernoulli" and isinstance(scale, str) else 1


def pixel_nll(likelihood: str, maps: Tensor, x: Tensor, scale: float = 1.0) -> Tensor:
    """-log p(x | maps) summed over the image: (..., C or 2C, H, W), (B, C, H, W) -> (...,).

    Args:
        likelihood: one of `LIKELIHOODS`.
        maps: output of the decoder: logits or means and, with 2C of them, log-scales.
        x: pixels in [0, 1].
        scale: fixed standard deviation, used where the maps contain none.
    """
    if likelihood == "bernoulli":
        return bernoulli_nll(maps, x)
    centre, log_scale = _centre_and_log_scale(likelihood, maps, x.shape[-3], scale)
    nll = gaussian_nll if likelihood == "gaussian" else discretized_logistic_nll
    return nll(centre, x, log_scale)


def pixel_mean(likelihood: str, maps: Tensor, channels: int) -> Tensor:
    """The image that the maps stand for: (..., C or 2C, H, W) -> (..., C, H, W) in [0, 1]."""
    centre = precise(maps.narrow(-3, 0, channels))
    if likelihood == "bernoulli":
        return centre.sigmoid()
    return (centre if likelihood == "gaussian" else (centre + 1) / 2).clamp(0, 1)


def bits_per_dim(likelihood: str, nll: Tensor, dims: int) -> Tensor | None:
    """Bits per dimension; None for the Bernoulli, which is not a density of grey values.

    A density over [0, 1] becomes bits per byte by 8 (256 cells of width 1/256). Its standard
    deviation is never below 1/256, so that this sum over the 256 levels is at most 1 (to 1e-8)
    and the metric cannot diverge on constant pixels, although the pixels are not dequantised.

    Args:
        likelihood: one of `LIKELIHOODS`.
        nll: negative log-likelihood of each image in nats.
        dims: C * H * W.
    """
    if likelihood == "bernoulli":
        return None
    return nll / (dims * math.log(2)) + (8 if likelihood == "gaussian" else 0)


def _centre_and_log_scale(
    likelihood: str, maps: Tensor, channels: int, scale: float
) -> tuple[Tensor, Tensor | float]:
    """Means, and log-scales kept softly above `NARROWEST`."""
    if maps.shape[-3] == channels:
        return maps, math.log(scale)
    centre, raw = maps.chunk(2, dim=-3)
    floor = NARROWEST[likelihood]
    return centre, floor + F.softplus(precise(raw) - floor)


def _sum(per_pixel: Tensor) -> Tensor:
    """Sum over C, H, W."""
    return per_pixel.flatten(-3).sum(-1)
