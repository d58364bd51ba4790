"""Perceptual path length: how evenly a generator's images change along its latents."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genlab.networks.interpolation import latent_points

PAIRS, EPSILON, BATCH = 2000, 1e-4, 250
TRIMMED = 0.01  # of the lengths, at each end


@torch.no_grad()
def path_length(
    noise: Callable[[int], Tensor],
    features: Callable[[Tensor], Tensor],
    pairs: int = PAIRS,
    epsilon: float = EPSILON,
    spherical: bool = True,
    seed: int = 0,
) -> float:
    """Mean squared change of the features for a short way between two latents, over its square.

    The way goes along an arc that keeps the latents' length, from a random point t of it to t +
    epsilon. Generated images may not be rounded to bytes on the way to the features: a step of
    a byte is far longer than one of epsilon.

    Args:
        noise: function that draws n latents, (n, D), from the global generator.
        features: function from latents to features of their images: (B, D) -> (B, F).
        pairs: number of ways.
        epsilon: length of the short way, as a share of the whole.
        spherical: True for arcs, False for straight lines.
        seed: seed of the latents and places; the global generator is left as it was.

    Returns:
        The mean without the lowest and the highest hundredth.

    Source: Karras, Laine, Aila 2018, arXiv:1812.04948. Departure: given features, not LPIPS; arcs
    between latents as they are drawn, not between their directions.
    """
    lengths = []
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        for start in range(0, pairs, BATCH):
            n = min(BATCH, pairs - start)
            first, last = noise(n), noise(n)
            place = torch.rand(n, device=first.device, dtype=first.dtype)
            along = torch.stack([place, place + epsilon], 1)
            ways = latent_points(first, last, along, spherical)  # (n, 2, D)
            here, there = (features(ways[:, end]).double().flatten(1) for end in (0, 1))
            lengths.append((there - here).square().sum(1) / epsilon**2)
    found = torch.cat(lengths).sort().values
    cut = int(TRIMMED * len(found))
    return float(found[cut : len(found) - cut].mean())
