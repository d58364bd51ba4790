"""A density of images: preprocessing, an invertible map, a density of its latents."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genlab.networks.flows.dequantise import Pixels
from genlab.networks.flows.latents import Latents


class ImageFlow(nn.Module):
    """Flow from images to latents: dequantisation, an invertible map, a density; and the inverse.

    Args:
        pixels: map between images and real numbers.
        layers: a flow, (B, C, H, W) -> (B, D).
        latents: the density of z, (B, D).
    """

    def __init__(self, pixels: Pixels, layers: nn.Module, latents: Latents) -> None:
        super().__init__()
        self.pixels, self.layers, self.latents = pixels, layers, latents

    def log_prob(self, image: Tensor, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """Log-density of images in nats, counted in cells of one level: -> (B,).

        Args:
            image: (B, C, H, W) in [0, 1].
            noise: positions in the cells, in [0, 1), (B, C, H, W).
            label: classes (B,), -1 where unknown, if the latents have classes.
        """
        y, log_det = self.pixels(image, noise)
        z, more = self.layers(y)
        return self.latents.log_prob(z, label) + log_det + more

    def encode(self, image: Tensor) -> Tensor:
        """Latents of the middles of the cells: (B, C, H, W) -> (B, D); no autocast inside."""
        with torch.autocast(image.device.type, enabled=False):
            y, _ = self.pixels(image, torch.full_like(image, 0.5))
            z: Tensor = self.layers(y)[0]
            return z

    def decode(self, z: Tensor) -> Tensor:
        """The image that has these latents: (B, D) -> (B, C, H, W); no autocast inside."""
        with torch.autocast(z.device.type, enabled=False):
            return self.pixels.inverse(self.layers.inverse(z)[0])  # type: ignore[operator]

    def bits_per_dim(self, log_prob: Tensor) -> Tensor:
        """Mean bits a dimension needs: log-densities in nats (B,) -> scalar."""
        return -log_prob.mean() / (self.latents.dim * math.log(2))
