"""Statistics of pixels that need no network: histograms of levels and spectra, with distances."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor

from genlab.metrics.spectrum import radial_power
from genlab.metrics.transport import jensen_shannon

LEVELS = 256
T = TypeVar("T")
U = TypeVar("U")


class PixelStatistics:
    """Counts of a set's levels and the mean of its radial power, from images that stream by.

    Attributes:
        levels: number of pixels at each of 256 levels, channels together, (256,) float64.
        power: sum over images of `radial_power` of their bytes, (K,) float64; empty before the
            first.
        images: number of images.
    """

    def __init__(self) -> None:
        self.levels = torch.zeros(LEVELS, dtype=torch.float64)
        self.power = torch.zeros(0, dtype=torch.float64)
        self.images = 0

    def add(self, image: Tensor) -> None:
        """Add bytes (B, C, H, W)."""
        self.levels += image.flatten().bincount(minlength=LEVELS).cpu()
        power = radial_power(image).sum(0).cpu()
        self.power = self.power + power if self.images else power
        self.images += len(image)

    def over(self, batches: Iterable[tuple[Tensor, T, U]]) -> Iterator[tuple[Tensor, T, U]]:
        """The batches as they are; their first parts, the images, are added on the way."""
        for batch in batches:
            self.add(batch[0])
            yield batch

    def spectrum(self) -> Tensor:
        """Mean power at each frequency from 1 cycle an image on: (K - 1,) float64."""
        return self.power[1:] / self.images


def pixel_distances(own: PixelStatistics, other: PixelStatistics) -> dict[str, float]:
    """Distances between two sets' levels and spectra.

    Returns:
        ``pixels_wasserstein``: W1 of the levels, in levels of 255; ``pixels_js``: Jensen-Shannon
        divergence of the levels in nats; ``spectrum_gap``: root of the mean over frequencies of the
        squared difference of the spectra in decibel, the mean brightness left out; absent where a
        spectrum has no power or images are of one pixel.
    """
    p, q = (one.levels / one.levels.sum() for one in (own, other))
    found = {
        "pixels_wasserstein": float((p - q).cumsum(0).abs().sum()),
        "pixels_js": jensen_shannon(p, q),
    }
    mine, theirs = own.spectrum(), other.spectrum()
    if len(mine) and len(mine) == len(theirs) and bool((mine > 0).all() & (theirs > 0).all()):
        found["spectrum_gap"] = float((10 * (mine / theirs).log10()).square().mean().sqrt())
    return found
