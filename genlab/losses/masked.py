"""Distances over masked parts of an image, and from the tokens of hidden parts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import distributed

EPS = 1e-6  # added to a patch's variance
FEW = 1e-5  # added to the number of masked pixels


def masked_patches(prediction: Tensor, target: Tensor, masked: Tensor) -> dict[str, Tensor]:
    """Squared distance of masked patches, mean over their values and over them all.

    Args:
        prediction: (B, N, n).
        target: (B, N, n).
        masked: (B, N) bool; every process has the same number of masked patches.

    Logs:
        train/explained, val/explained (fraction, higher): 1 - the loss / the distance of the masked
            parts from their mean over the batch: 0 if that mean were predicted, 1 is perfect.

    Returns:
        ``loss``, float32 at least, and ``explained``.

    Source: He et al. 2022, arXiv:2111.06377.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        there = _exact(masked, prediction)
        prediction, target = _exact(prediction), _exact(target, prediction)
        loss = _mean((prediction - target).square().mean(2), there)
        middle = _mean(target.mean(2), there)
        spread = _mean((target - middle).square().mean(2), there)
    return {"loss": loss, "explained": _explained(loss, spread)}


def masked_pixels(prediction: Tensor, image: Tensor, masked: Tensor) -> dict[str, Tensor]:
    """Absolute distance of masked pixels, mean over channels and over those of all processes.

    Args:
        prediction: (B, C, H, W).
        image: (B, C, H, W).
        masked: (B, 1, H, W) bool.

    Returns:
        ``loss``, float32 at least, and ``explained``, see `masked_patches`.

    Source: Xie et al. 2022, arXiv:2111.09886.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        there = _exact(masked, prediction)
        prediction, image = _exact(prediction), _exact(image, prediction)
        count = (distributed.all_reduce_sum(there.sum()) + FEW) / distributed.world_size()
        middle = (image.mean(1, keepdim=True) * there).sum() / count
        loss, spread = (
            ((image - other).abs().mean(1, keepdim=True) * there).sum() / count
            for other in (prediction, middle)
        )
    return {"loss": loss, "explained": _explained(loss, spread)}


def standardised(patches: Tensor) -> Tensor:
    """Patches with mean 0 and variance 1, each by its own n values: (B, N, n), float32 at least.

    The variance is unbiased and has 1e-6 added: a patch of one value everywhere becomes 0.

    Source: He et al. 2022, arXiv:2111.06377, ``norm_pix_loss``.
    """
    patches = _exact(patches)
    centred = patches - patches.mean(2, keepdim=True)
    return centred / (patches.var(2, keepdim=True) + EPS).sqrt()


def _mean(values: Tensor, there: Tensor) -> Tensor:
    return (values * there).sum() / there.sum()


def _explained(loss: Tensor, spread: Tensor) -> Tensor:
    return (1 - loss / spread.clamp(min=EPS)).detach()


def _exact(x: Tensor, like: Tensor | None = None) -> Tensor:
    """In float32, or in float64 if it, or the other, has that."""
    return x.to(torch.promote_types((x if like is None else like).dtype, torch.float32))


def token_distance(prediction: Tensor, tokens: Tensor) -> Tensor:
    """Smooth L1 (beta 1) of predicted tokens from standardised ones, mean over everything.

    Args:
        prediction: (..., D).
        tokens: (..., D), the targets before their layer norm without gain; constants.

    Returns:
        Scalar, float32 at least. 0.42 for predictions of 0 and normally distributed tokens.

    Source: Assran et al. 2023, arXiv:2301.08243, as in facebookresearch/ijepa.
    """
    with torch.autocast(prediction.device.type, enabled=False):
        prediction, tokens = _exact(prediction), _exact(tokens.detach(), prediction)
        return F.smooth_l1_loss(prediction, F.layer_norm(tokens, tokens.shape[-1:]))


def spread_over_images(tokens: Tensor) -> Tensor:
    """Standard deviation of standardised tokens over the images, at one place: (B, N, D) -> scalar.

    Root of the mean over places and components: at most 1; 0 where all images have the same.
    """
    tokens = _exact(tokens.detach())
    return F.layer_norm(tokens, tokens.shape[-1:]).var(0, correction=0).mean().sqrt()
