"""Losses without negatives: agreement between a prediction and its target."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def negative_cosine(p: Tensor, z: Tensor) -> Tensor:
    """Minus the cosine between prediction and target; the target is a constant.

    Args:
        p: predictions, (B, D), with gradient.
        z: targets, (B, D).

    Returns:
        Scalar in [-1, 1]: mean over the batch, float32 at least.

    Source: Chen & He 2020, arXiv:2011.10566, algorithm 1 (D).
    """
    with torch.autocast(p.device.type, enabled=False):
        kind = torch.promote_types(p.dtype, torch.float32)
        return -F.cosine_similarity(p.to(kind), z.detach().to(kind), dim=1).mean()


def normalised_distance(p: Tensor, z: Tensor) -> Tensor:
    """Squared distance of the normalised vectors, 2 - 2 cos; the target is a constant.

    Args:
        p: predictions, (B, D), with gradient.
        z: targets, (B, D).

    Returns:
        Scalar in [0, 4]: mean over the batch. BYOL's loss is the sum over both directions.

    Source: Grill et al. 2020, arXiv:2006.07733, equation 2.
    """
    return 2 + 2 * negative_cosine(p, z)
