"""Losses of autoencoders with a critic: distances of feature maps, and the critic's share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from genlab import distributed

LARGEST = 1e4  # of the adaptive weight
EPS = 1e-4  # beside the norm of the critic's gradient


def feature_distance(maps: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """Squared distance of feature maps whose places have norm 1.

    It has the form of LPIPS (Zhang et al. 2018, arXiv:1801.03924) without its learned weights of
    channels, and is another distance for every network.

    Args:
        maps: maps (B, F, h, w), or tokens (B, P, F), of images at several depths.
        others: those of other images.

    Returns:
        Sum over channels, mean over places and depths: (B,), from 0 to 4.
    """
    found = []
    for a, b in zip(maps, others, strict=True):
        axis = 1 if a.ndim == 4 else 2
        a, b = (torch.nn.functional.normalize(x.float(), dim=axis) for x in (a, b))
        found.append((a - b).square().sum(axis).flatten(1).mean(1))
    return torch.stack(found).mean(0)


def adaptive_weight(reconstruction: Tensor, adversarial: Tensor, last: Tensor) -> Tensor:
    """Weight by which a critic's gradient is as long as the reconstruction's at the last layer.

    Esser, Rombach, Ommer 2021, arXiv:2012.09841, eq. 7. Departure: both gradients are means over
    processes before their norms are taken, else each process would have a weight of its own.

    Args:
        reconstruction: scalar, mean over the batch.
        adversarial: scalar, the generator's loss.
        last: weight of the layer that gives the image.

    Returns:
        Scalar without gradient, from 0 to 10,000.
    """
    slopes = [
        torch.autograd.grad(loss, last, retain_graph=True)[0].float()
        for loss in (reconstruction, adversarial)
    ]
    mean = distributed.all_reduce_sum(torch.stack(slopes)) / distributed.world_size()
    of_reconstruction, of_critic = mean.flatten(1).norm(dim=1)
    return (of_reconstruction / (of_critic + EPS)).clamp(0, LARGEST).detach()
