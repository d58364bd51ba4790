"""Distances over masked parts of an image, and from the tokens of hidden parts."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import distributed

EPS = 1e-6  # added to a patch's variance; the smallest baseline
FEW = 1e-5  # added to the number of masked pixels


def masked_patches(prediction: Tensor, target: Tensor, masked: Tensor) -> dict[str, Tensor]:
    """Squared distance of masked patches, mean over their values and over them all.

    Args:
        prediction: (B, N, n).
        target: (B, N, n).
        masked: (B, N) bool; every process has the same number of masked patches.

    Returns:
        ``loss``, float32 at least, and ``explained``, see `masked_sums`, of this process's batch.

    Source: He et al. 2022, arXiv:2111.06377.
    """
    found = patch_sums(prediction, target, masked)
    return {"loss": found["error"] / found["count"], "explained": explained(found)}


def masked_pixels(
    prediction: Tensor, image: Tensor, masked: Tensor, squared: bool = False
) -> dict[str, Tensor]:
    """Distance of masked pixels, mean over channels and over those of all processes.

    Args:
        prediction: (B, C, H, W).
        image: (B, C, H, W).
        masked: (B, 1, H, W) bool.
        squared: True for the squared distance, False for the absolute one.

    Returns:
        ``loss``, float32 at least, and ``explained``, see `masked_sums`, of this process's batch.

    Source: Xie et al. 2022, arXiv:2111.09886.
    """
    found = pixel_sums(prediction, image, masked, squared)
    count = (distributed.all_reduce_sum(found["count"]) + FEW) / distributed.world_size()
    return {"loss": found["error"] / count, "explained": explained(found)}


def patch_sums(prediction: Tensor, target: Tensor, masked: Tensor) -> dict[str, Tensor]:
    """`masked_sums` of squared distances of patches (B, N, n); ``masked`` (B, N) bool."""
    return masked_sums(prediction, target, masked[..., None], 2, squared=True)


def pixel_sums(
    prediction: Tensor, image: Tensor, masked: Tensor, squared: bool = False
) -> dict[str, Tensor]:
    """`masked_sums` of distances of pixels (B, C, H, W); ``masked`` (B, 1, H, W) bool."""
    return masked_sums(prediction, image, masked, 1, squared)


def masked_sums(
    prediction: Tensor, target: Tensor, masked: Tensor, dim: int, squared: bool
) -> dict[str, Tensor]:
    """Sums over the masked places of a batch: sums of parts add up to that of the whole.

    Args:
        prediction: (B, ...).
        target: (B, ...), the same shape.
        masked: bool, the same shape but for one value in ``dim``; every image has visible places.
        dim: dimension of the values of a place, over which distances are means.
        squared: True for squared distances, False for absolute ones.

    Logs:
        train/explained, val/explained (fraction, higher): 1 - the loss / that of predicting, in
            each image, one value for all masked places: the mean of what is visible for squared
            distances, its median for absolute ones, where sparse strokes lose to the background. 0
            for that value, 1 is perfect. Of a training batch, or of the whole split.

    Returns:
        ``error``, of the prediction; ``baseline``, of that one value of each image; ``count`` of
        masked places. Float32 at least.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        there = _exact(masked, prediction)
        prediction, target = _exact(prediction), _exact(target, prediction)
        middle = (_mean if squared else _median)(target, 1 - there, dim)
        apart = (other - target for other in (prediction, middle))
        error, baseline = (
            ((one.square() if squared else one.abs()).mean(dim, keepdim=True) * there).sum()
            for one in apart
        )
    return {"error": error, "baseline": baseline, "count": there.sum()}


def _mean(target: Tensor, seen: Tensor, dim: int) -> Tensor:
    """Mean of each image's visible values: (B, 1, ...)."""
    places = tuple(range(1, seen.ndim))
    total = (target.mean(dim, keepdim=True) * seen).sum(places, keepdim=True)
    return total / seen.sum(places, keepdim=True)


def _median(target: Tensor, seen: Tensor, dim: int) -> Tensor:
    """Median of each image's visible values, the lower one of two: (B, 1, ...)."""
    hidden = target.detach().masked_fill(seen == 0, math.inf).flatten(1)  # comes last
    count = seen.flatten(1).sum(1, keepdim=True) * target.shape[dim]
    middle = ((count.long() - 1) // 2).clamp(min=0)
    return hidden.sort(1).values.gather(1, middle).view(-1, *[1] * (target.ndim - 1))


def explained(sums: dict[str, Tensor]) -> Tensor:
    """1 - error / baseline of `masked_sums`, without a gradient."""
    return (1 - sums["error"] / sums["baseline"].clamp(min=EPS)).detach()


def standardised(patches: Tensor) -> Tensor:
    """Patches with mean 0 and variance 1, each by its own n values: (B, N, n), float32 at least.

    The variance is unbiased and has 1e-6 added: a patch of one value everywhere becomes 0.

    Source: He et al. 2022, arXiv:2111.06377, ``norm_pix_loss``.
    """
    patches = _exact(patches)
    centred = patches - patches.mean(2, keepdim=True)
    return centred / (patches.var(2, keepdim=True) + EPS).sqrt()


def _exact(x: Tensor, like: Tensor | None = None) -> Tensor:
    """In float32, or in float64 if it, or the other, has that."""
    return x.to(torch.promote_types((x if like is None else like).dtype, torch.float32))


def token_distance(prediction: Tensor, tokens: Tensor, layer_norm: bool = True) -> Tensor:
    """Smooth L1 (beta 1) of predicted tokens from standardised ones, mean over everything.

    Args:
        prediction: (..., D).
        tokens: (..., D), the targets before their layer norm without gain; constants.
        layer_norm: False for targets that are standardised already.

    Returns:
        Scalar, float32 at least. 0.42 for predictions of 0 and normally distributed tokens.

    Source: Assran et al. 2023, arXiv:2301.08243, as in facebookresearch/ijepa.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        prediction, tokens = _exact(prediction), _exact(tokens.detach(), prediction)
        tokens = F.layer_norm(tokens, tokens.shape[-1:]) if layer_norm else tokens
        return F.smooth_l1_loss(prediction, tokens)


def standardised_over_images(tokens: Tensor) -> Tensor:
    """Tokens with mean 0 and variance 1 over the images of all processes: (B, N, D).

    Each component at each place by itself, after a layer norm without gain; float32 at least. The
    variance is biased and has 1e-6 added.

    Source: batch norm of targets, Baevski et al. 2022, arXiv:2202.03555, section 5.3 and code.
    Departure: statistics of each place, not of all together.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        tokens = _exact(tokens.detach())
        tokens = F.layer_norm(tokens, tokens.shape[-1:])
        count = distributed.all_reduce_sum(tokens.new_full((), float(len(tokens))))
        centred = tokens - distributed.all_reduce_sum(tokens.sum(0)) / count
        variance = distributed.all_reduce_sum(centred.square().sum(0)) / count
        return centred / (variance + EPS).sqrt()


def spread_over_images(tokens: Tensor) -> Tensor:
    """Standard deviation of standardised tokens over the images, at one place: (B, N, D) -> scalar.

    Root of the mean over places and components: at most 1; 0 where all images have the same.
    """
    tokens = _exact(tokens.detach())
    return F.layer_norm(tokens, tokens.shape[-1:]).var(0, correction=0).mean().sqrt()
