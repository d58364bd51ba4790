"""Bins of the colour plane (a, b): soft codes, weights of rare bins, and back to a colour.

Zhang, Isola, Efros 2016, arXiv:1603.08511, section 2. Their 313 bins are those that ImageNet fills;
here they are the multiples of ten that are nearest to some colour of 8-bit sRGB: 261, of any data.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from genlab.augment.lab import rgb_to_lab

SIDE = 10  # of a bin, in units of a and b
SIGMA = 5.0  # of the soft code
FLOOR = 1e-5  # share of an empty bin
ROWS = 2**16  # pixels whose distances are computed at a time


@lru_cache
def bin_centres() -> tuple[tuple[float, float], ...]:
    """The 261 centres (a, b), in order; the surface of the RGB cube fills them all."""
    level = torch.arange(256) / 255
    first, second = torch.meshgrid(level, level, indexing="ij")
    found: set[tuple[float, float]] = set()
    for channel in range(3):
        for end in (0.0, 1.0):
            face = [first, second]
            face.insert(channel, torch.full_like(first, end))
            ab = rgb_to_lab(torch.stack(face)[None])[0, 1:].flatten(1)
            nearest = (ab / SIDE).round().T.unique(dim=0) * SIDE + 0.0  # no minus zero
            found.update((float(a), float(b)) for a, b in nearest)
    return tuple(sorted(found))


def soft_code(
    ab: Tensor, centres: Tensor, neighbours: int = 5, sigma: float = SIGMA
) -> tuple[Tensor, Tensor]:
    """The nearest bins of each pixel and their shares, a Gaussian of the distance that sums to 1.

    Args:
        ab: (N, 2).
        centres: (Q, 2).
        neighbours: number of bins k that share a pixel.
        sigma: standard deviation of the Gaussian.

    Returns:
        Bins (N, k) int64, the nearest first; shares (N, k).
    """
    parts = [_nearest(part, centres, min(neighbours, len(centres))) for part in ab.split(ROWS)]
    square, bins = (torch.cat(part) for part in zip(*parts, strict=True))
    return bins, (-square / (2 * sigma**2)).softmax(1)


def _nearest(ab: Tensor, centres: Tensor, k: int) -> tuple[Tensor, Tensor]:
    square = (ab[:, None] - centres.to(ab.dtype)).square().sum(2)  # (n, Q)
    return square.topk(k, largest=False)


def rebalancing(counts: Tensor, uniform: float = 0.5) -> Tensor:
    """Weights of the bins: 1 / ((1 - u) p + u / Q), scaled so that their mean under p is 1.

    Args:
        counts: pixels of each bin so far, (Q,); none at all counts as equally many.
        uniform: share u of the uniform distribution that is mixed in.

    Returns:
        (Q,) float; an empty bin has a large weight and not an infinite one.
    """
    p = counts.float()
    p = torch.where(p.sum() > 0, p / p.sum().clamp(min=1), 1 / len(p))
    weight = 1 / ((1 - uniform) * p.clamp(min=FLOOR) + uniform / len(p))
    return weight / (p * weight).sum()


def annealed_mean(logits: Tensor, centres: Tensor, temperature: float = 0.38) -> Tensor:
    """Mean (a, b) of predicted distributions, sharpened: (B, Q, h, w), (Q, 2) -> (B, 2, h, w)."""
    share = (logits.float() / temperature).softmax(1)
    return torch.einsum("bqhw,qc->bchw", share, centres.float())
