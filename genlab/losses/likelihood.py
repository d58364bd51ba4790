"""Likelihoods of pixels given a decoder's maps: complete, in nats, summed over the image.

Constants are kept: a Gaussian without its D/2 log(2 pi sigma^2) is off by 720 nats at 784 pixels
and cannot be compared with anything.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LIKELIHOODS = ("bernoulli", "gaussian", "discretized_logistic")


def bernoulli_nll(logits: Tensor, x: Tensor) -> Tensor:
    """-log p(x) of independent Bernoulli pixels: (B, ...), (B, ...) -> (B,).

    For grey x in [0, 1] it is the cross entropy, no likelihood: compare it with nothing else.
    """
    logits = _precise(logits)
    per_pixel = F.binary_cross_entropy_with_logits(logits, x.to(logits.dtype), reduction="none")
    return per_pixel.flatten(1).sum(1)


def gaussian_nll(mean: Tensor, x: Tensor, log_scale: Tensor | float = 0.0) -> Tensor:
    """-log p(x) of independent normal pixels with standard deviation e^log_scale: -> (B,).

    Args:
        mean: (B, ...).
        x: (B, ...).
        log_scale: a number or a tensor that broadcasts to ``mean``.
    """
    mean = _precise(mean)
    log_scale = torch.as_tensor(log_scale, dtype=mean.dtype, device=mean.device)
    per_pixel = 0.5 * ((x - mean) * (-log_scale).exp()).square() + log_scale
    return (per_pixel + 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)


def discretized_logistic_nll(mean: Tensor, x: Tensor, log_scale: Tensor | float) -> Tensor:
    """-log P(pixel) of a logistic cut into 256 cells with open ends: -> (B,).

    Args:
        mean: centre in [-1, 1] units, (B, ...).
        x: pixels in [0, 1], multiples of 1/255.
        log_scale: log of the logistic's scale in [-1, 1] units; a number or broadcastable.

    Source: Salimans et al. 2017 (PixelCNN++), arXiv:1701.05517, one component. The 256 cells sum
    to 1 exactly; narrow cells are computed from the two log-sigmoids, without cancellation.
    """
    mean = _precise(mean)
    log_scale = torch.as_tensor(log_scale, dtype=mean.dtype, device=mean.device)
    centre = 2 * x.to(mean.dtype) - 1 - mean
    upper = (centre + 1 / 255) * (-log_scale).exp()
    lower = (centre - 1 / 255) * (-log_scale).exp()
    # log(sigmoid(u) - sigmoid(l)) = logsigmoid(u) + logsigmoid(-l) + log(1 - e^(l - u))
    gap = (lower - upper).clamp(max=-1e-12)
    inside = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(gap))
    darkest, brightest = x < 0.5 / 255, x > 254.5 / 255
    log_p = torch.where(darkest, F.logsigmoid(upper), inside)
    log_p = torch.where(brightest, F.logsigmoid(-lower), log_p)
    return -log_p.flatten(1).sum(1)


def maps_per_channel(likelihood: str, scale: float | str) -> int:
    """How many maps a decoder gives for each colour.

    Raises:
        ValueError: unknown likelihood or scale.
    """
    if likelihood not in LIKELIHOODS:
        raise ValueError(f"likelihood {likelihood!r} is none of {', '.join(LIKELIHOODS)}")
    if isinstance(scale, str) and scale not in ("shared", "pixel"):
        raise ValueError(f"scale {scale!r} is neither a number nor shared nor pixel")
    if not isinstance(scale, str) and scale <= 0:
        raise ValueError(f"scale {scale} must be > 0")
    return 2 if likelihood != "bernoulli" and isinstance(scale, str) else 1


def pixel_nll(likelihood: str, maps: Tensor, x: Tensor, scale: float = 1.0) -> Tensor:
    """-log p(x | maps) summed over the image: (B, C or 2C, H, W), (B, C, H, W) -> (B,).

    Args:
        likelihood: one of `LIKELIHOODS`.
        maps: of the decoder: logits or means and, with 2C of them, log-scales.
        x: pixels in [0, 1].
        scale: the fixed standard deviation where the maps hold none.
    """
    if likelihood == "bernoulli":
        return bernoulli_nll(maps, x)
    centre, log_scale = _centre_and_log_scale(maps, x.shape[1], scale)
    nll = gaussian_nll if likelihood == "gaussian" else discretized_logistic_nll
    return nll(centre, x, log_scale)


def pixel_mean(likelihood: str, maps: Tensor, channels: int) -> Tensor:
    """The image that the maps stand for: (B, C or 2C, H, W) -> (B, C, H, W) in [0, 1]."""
    centre = _precise(maps[:, :channels])
    if likelihood == "bernoulli":
        return centre.sigmoid()
    return (centre if likelihood == "gaussian" else (centre + 1) / 2).clamp(0, 1)


def bits_per_dim(likelihood: str, nll: Tensor, dims: int) -> Tensor | None:
    """Bits a colour value, None for the Bernoulli, which is no density of grey values.

    A density over [0, 1] becomes bits per byte by 8 (256 cells of width 1/256).

    Args:
        likelihood: one of `LIKELIHOODS`.
        nll: nats an image.
        dims: C * H * W.
    """
    if likelihood == "bernoulli":
        return None
    return nll / (dims * math.log(2)) + (8 if likelihood == "gaussian" else 0)


def _centre_and_log_scale(
    maps: Tensor, channels: int, scale: float
) -> tuple[Tensor, Tensor | float]:
    if maps.shape[1] == channels:
        return maps, math.log(scale)
    centre, log_scale = maps.chunk(2, dim=1)
    return centre, _precise(log_scale).clamp(-7, 7)  # narrower than a cell explains nothing


def _precise(x: Tensor) -> Tensor:
    """At least float32, under any autocast."""
    return x if x.dtype == torch.float64 else x.float()
