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


def low_pass(image: Tensor, cutoff: float) -> Tensor:
    """Images without the frequencies above a bound: (B, C, H, W) -> (B, C, H, W).

    Args:
        image: images; values of the result may lie outside their range.
        cutoff: highest frequency that stays, in cycles a pixel; 0 leaves the mean.
    """
    spectrum = torch.fft.fft2(image.double())
    return torch.fft.ifft2(spectrum * _below(image, cutoff)).real.to(image.dtype)


def high_share(image: Tensor, cutoff: float = 0.25) -> Tensor:
    """Share of each image's power, without the mean, above a frequency: (B, C, H, W) -> (B,).

    Args:
        image: images; one that is constant has the share nan.
        cutoff: the frequency, in cycles a pixel.
    """
    power = torch.fft.fft2(image.double()).abs().square().sum(1)  # (B, H, W)
    whole = (power * ~_below(image, 0)).sum((1, 2))
    share = (power * ~_below(image, cutoff)).sum((1, 2)) / whole
    return share.where(whole > 1e-12 * power.sum((1, 2)), torch.nan)


def _below(image: Tensor, cutoff: float) -> Tensor:
    """True at frequencies up to a bound: (H, W)."""
    rows, columns = (
        torch.fft.fftfreq(size, dtype=torch.float64, device=image.device)
        for size in image.shape[-2:]
    )
    return (rows[:, None].square() + columns.square()).sqrt() <= cutoff + 1e-9
