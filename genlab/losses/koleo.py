"""Spread of embeddings over the sphere, by the distance to the nearest neighbour."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from genlab import distributed
from genlab.losses.contrastive import normalise

EPS = 1e-8  # of a distance


def koleo(z: Tensor) -> Tensor:
    """Kozachenko-Leonenko estimate of minus the entropy: -log of the nearest neighbour's distance.

    Neighbours are looked for among the embeddings of all processes, with gradient on both sides.
    Computed in float32 at least: in float16 the distance of two equal embeddings is 0.

    Args:
        z: embeddings, (N / world, D); made unit vectors here.

    Returns:
        Scalar, nats: mean over this process's embeddings.

    Raises:
        ValueError: a single embedding, which has no neighbour.

    Sources: Sablayrolles et al. 2019, arXiv:1806.03198, equation 3; facebookresearch/dinov2.
    Departures: there the neighbours are those of one process; and an embedding opposite to all
    others is its own neighbour.
    """
    with torch.autocast(z.device.type, enabled=False):
        own = normalise(z)  # (N / world, D)
        every = distributed.gather(own)  # (N, D)
        if len(every) < 2:
            raise ValueError("koleo requires at least two images: raise data.batch_size")
        with torch.no_grad():
            cosines = own @ every.T  # (N / world, N)
            cosines.diagonal(len(own) * distributed.rank()).fill_(-2)
            nearest = cosines.argmax(1)
        return -(F.pairwise_distance(own, every[nearest], eps=EPS) + EPS).log().mean()


def koleo_of_equal(dim: int) -> float:
    """`koleo` of equal embeddings of this width: the constant in the logarithm is left."""
    return -math.log(EPS * (math.sqrt(dim) + 1))
