"""Radial power spectrum of images: mean power at each spatial frequency."""

from __future__ import annotations

import torch
from torch import Tensor


def radial_power(image: Tensor) -> Tensor:
    """Mean of |FFT|^2 / (H W) over rings of rounded radius, for frequencies 0 to min(H, W) // 2.

    A ring holds the frequencies whose distance from zero, in cycles an image, rounds to its
    number. Rings further out are cut by the square and left out.

    Args:
        image: (B, C, H, W); channels are averaged in power.

    Returns:
        (B, K) float64, K = min(H, W) // 2 + 1; k = 0 is H W times the square of the mean.
    """
    height, width = image.shape[-2:]
    power = torch.fft.fft2(image.double()).abs().square().mean(1) / (height * width)  # (B, H, W)
    rows = torch.fft.fftfreq(height, 1 / height, dtype=torch.float64, device=image.device)
    columns = torch.fft.fftfreq(width, 1 / width, dtype=torch.float64, device=image.device)
    ring = (rows[:, None].square() + columns.square()).sqrt().round().long().flatten()
    most = min(height, width) // 2
    inside = ring <= most
    sums = power.new_zeros(len(image), most + 1)
    sums.index_add_(1, ring[inside], power.flatten(1)[:, inside])
    return sums / ring[inside].bincount(minlength=most + 1)
