"""Latents of a frozen autoencoder in the place of pixels.

Rombach et al. 2022, arXiv:2112.10752: a generator of latents is a generator of images. Departures:
latents are an encoder's mean, without noise; each channel is standardised by itself, where the
paper divides all by one number.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from genlab.contracts import HasLatents

ROWS = 10_000  # training images from which mean and deviation are taken
LEAST = 1e-6  # deviation of a channel that says nothing


class LatentSpace(nn.Module):
    """Standardised latents of images, and the images of such latents; never trained.

    Of a method with maps of latents (`contracts.HasLatents`, such as a VQ-VAE's before its
    quantiser), or with vectors, such as a VAE's means. Mean 0 and deviation 1 are those of `fit`;
    until then latents are as they are.

    Args:
        autoencoder: the trained method; it is frozen.
        channels: C of the images.
        image_size: H = W in pixels.

    Attributes:
        shape: shape of the latents, (D, h, w).
        quantised: always False: latents are not levels.

    Raises:
        ValueError: the method does not turn images into latents and back.
    """

    mean: Tensor
    deviation: Tensor
    fitted: Tensor
    quantised = False

    def __init__(self, autoencoder: nn.Module, channels: int, image_size: int) -> None:
        super().__init__()
        self.autoencoder = autoencoder.requires_grad_(False).eval()
        blank, kind = torch.zeros(2, channels, image_size, image_size), type(autoencoder).__name__
        try:
            latents = self._latents(blank)
            again = self._image(latents)
        except (RuntimeError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(
                f"space requires an autoencoder of these images, not {kind}"
            ) from error
        if latents.dim() != 4 or again.shape != blank.shape:
            raise ValueError(f"space requires an autoencoder of these images, not {kind}")
        self.shape: tuple[int, int, int] = tuple(latents.shape[1:])  # type: ignore[assignment]
        self.register_buffer("mean", torch.zeros(self.shape[0], 1, 1))
        self.register_buffer("deviation", torch.ones(self.shape[0], 1, 1))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.uint8))

    def train(self, mode: bool = True) -> LatentSpace:
        """Stay in eval mode."""
        return super().train(False)

    def forward(self, image: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Latents: (B, C, H, W) -> (B, D, h, w), and zeros (B,); the noise has no part in it."""
        z = (self._latents(image) - self.mean) / self.deviation
        return z, z.new_zeros(len(z))

    def inverse(self, z: Tensor) -> Tensor:
        """The images of latents: (B, D, h, w) -> (B, C, H, W) in [0, 1]."""
        return self._image(z * self.deviation + self.mean)

    @torch.no_grad()
    def fit(self, images: Iterable[Tensor]) -> None:
        """Take mean and deviation of each channel from batches (B, C, H, W).

        Raises:
            ValueError: no images.
        """
        found = [self._latents(image.to(self.mean.device)).double().cpu() for image in images]
        if not found:
            raise ValueError("space requires training images to standardise its latents")
        every = torch.cat(found)
        self.mean.copy_(every.mean((0, 2, 3)).view(-1, 1, 1))
        deviation = every.std((0, 2, 3), correction=0).clamp(min=LEAST)
        self.deviation.copy_(deviation.view(-1, 1, 1))
        self.fitted.fill_(1)

    @torch.no_grad()
    def _latents(self, image: Tensor) -> Tensor:
        method: Any = self.autoencoder
        if isinstance(method, HasLatents):
            return method.latents(image)
        z: Tensor = method(image)  # (B, D)
        return z[:, :, None, None]

    @torch.no_grad()
    def _image(self, z: Tensor) -> Tensor:
        method: Any = self.autoencoder
        if isinstance(method, HasLatents):
            return method.image_of(z)
        image: Tensor = method.decode(z.flatten(1))
        return image
