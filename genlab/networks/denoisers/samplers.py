"""Samplers from noise to images through a denoiser, on a grid of levels that ends at 0.

Heun: Karras et al. 2022, arXiv:2206.00364, algorithm 1; ancestral steps: Ho, Jain, Abbeel 2020,
arXiv:2006.11239; the step without noise: Song, Meng, Ermon 2020 (DDIM), arXiv:2010.02502. All in
units in which an image is not shrunk, x = y + s n.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from genlab.networks.odes import Velocity

SAMPLERS = ("heun", "ddim", "ancestral")


def denoise(
    denoiser: Velocity, x: Tensor, levels: Sequence[float], sampler: str = "heun"
) -> tuple[Tensor, int]:
    """Images from noise; and how often the denoiser was evaluated.

    ``heun``: two evaluations a step, one in the last; ``ddim``: Euler's step; ``ancestral``: DDPM's
    step, with fresh noise from torch's generator in all steps but the last.

    Args:
        denoiser: D, of noisy images (B, ...) and their levels (B,).
        x: noise with the first level as its standard deviation, (B, ...).
        levels: descending, the last 0.
        sampler: one of these names.

    Raises:
        ValueError: unknown sampler.
    """
    check_sampler(sampler)
    evaluations = 0

    def clean(x: Tensor, level: float) -> Tensor:
        nonlocal evaluations
        evaluations += 1
        return denoiser(x, x.new_full((len(x),), level)).to(x.dtype)

    for level, following in pairwise(levels):
        image = clean(x, level)
        if sampler == "ancestral":
            x = ancestral_step(x, image, level, following)
            continue
        slope = (x - image) / level
        end = image + following * slope
        if sampler == "heun" and following > 0:
            slope = (slope + (end - clean(end, following)) / following) / 2
            end = x + (following - level) * slope
        x = end
    return x, evaluations


def check_sampler(sampler: str) -> None:
    """Refuse an unknown sampler.

    Raises:
        ValueError: it is none of `SAMPLERS`.
    """
    if sampler not in SAMPLERS:
        raise ValueError(f"unknown sampler {sampler!r}; choose from {', '.join(SAMPLERS)}")


def ancestral_step(x: Tensor, image: Tensor, level: float, following: float) -> Tensor:
    """A draw of the smaller level given x and its clean image: DDPM's posterior, 2 x (B, ...) -> x.

    Its mean is image + (r^2 / s^2) (x - image) for levels s and r, its variance
    r^2 (s^2 - r^2) / s^2.
    """
    ratio = (following / level) ** 2
    mean = image + ratio * (x - image)
    if not following:
        return mean
    spread: float = following * (1 - ratio) ** 0.5
    return mean + spread * torch.randn_like(x)
