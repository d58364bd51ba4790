"""Decoders that are distributions of an image given latents: pixel by pixel, or autoregressive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genlab import losses
from genlab.networks.arguments import check_settings
from genlab.networks.autoencoders.image_coders import DECODERS, SharedScale, image_decoder
from genlab.networks.autoencoders.pixelcnn import PixelCNN

ROWS = 256  # images that a PixelCNN sees at a time


class PixelDecoder(nn.Module):
    """Distribution of pixels that are independent given z.

    Args:
        network: (B, D) -> (B, C or 2C, H, W), parameters of every pixel.
        channels: C.
        likelihood: distribution of a pixel, see `losses.pixel_nll`.
        scale: its scale, where the network gives none.
    """

    def __init__(self, network: nn.Module, channels: int, likelihood: str, scale: float) -> None:
        super().__init__()
        self.network, self.channels = network, channels
        self.likelihood, self.scale = likelihood, scale

    def forward(self, z: Tensor) -> Tensor:
        """Parameters of every pixel: (B, D) -> (B, C or 2C, H, W)."""
        maps: Tensor = self.network(z)
        return maps

    def nll(self, z: Tensor, image: Tensor) -> Tensor:
        """-log p(x|z) in nats: (..., B, D), (B, C, H, W) -> (..., B)."""
        maps = self(z.flatten(0, -2)).unflatten(0, z.shape[:-1])
        return losses.pixel_nll(self.likelihood, maps, image, self.scale)

    def mean(self, z: Tensor) -> Tensor:
        """The mean of p(x|z): (B, D) -> (B, C, H, W) in [0, 1]."""
        return losses.pixel_mean(self.likelihood, self(z), self.channels)

    def bits_per_dim(self, nll: Tensor, dims: int) -> Tensor | None:
        """Bits per dimension of -log p(x) in nats; None for grey values as probabilities."""
        return losses.bits_per_dim(self.likelihood, nll, dims)


class PixelCNNDecoder(nn.Module):
    """Distribution of each pixel given z and the pixels before it, by a gated PixelCNN.

    A strong decoder: with many layers it explains images without z, whose KL term falls to 0.

    Args:
        in_dim: D.
        image_size: H = W in pixels.
        levels: values of a pixel, 2 for binary images; `genlab fit` refuses images of others.
        width: channels of both stacks.
        depth: number of gated layers; with ``kernel_size`` it bounds how far back a pixel looks.
        kernel_size: side of the kernels, odd.
        dropout: rate in every layer.
    """

    def __init__(
        self,
        in_dim: int,
        image_size: int,
        levels: int = 2,
        width: int = 32,
        depth: int = 3,
        kernel_size: int = 5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if levels < 2:
            raise ValueError(f"levels must be at least 2, got {levels}")
        self.levels = self.image_levels = levels
        shape, sizes = (image_size, image_size), (width, depth)
        self.network = PixelCNN(levels, shape, *sizes, 0, kernel_size, dropout, in_dim)

    def nll(self, z: Tensor, image: Tensor) -> Tensor:
        """-log p(x|z) in nats: (..., B, D), (B, 1, H, W) -> (..., B)."""
        level = (image[:, 0] * (self.levels - 1)).round().clamp(0, self.levels - 1).long()
        level = level.expand(*z.shape[:-1], -1, -1).flatten(0, -3)  # (... B, H, W)
        pairs = zip(level.split(ROWS), z.flatten(0, -2).split(ROWS), strict=True)
        parts = [losses.code_nll(self.network(x, code), x) for x, code in pairs]
        return torch.cat(parts).unflatten(0, z.shape[:-1])

    def mean(self, z: Tensor) -> Tensor:
        """A draw from p(x|z), whose mean would be no image: (B, D) -> (B, 1, H, W) in [0, 1]."""
        return self.network.sample(len(z), z)[:, None] / (self.levels - 1)

    def bits_per_dim(self, nll: Tensor, dims: int) -> Tensor | None:
        """Bits per dimension of -log p(x) in nats; None for binary images."""
        return losses.bits_per_dim("discretized_logistic", nll, dims) if self.levels > 2 else None


def pixel_decoder(
    name: str,
    in_dim: int,
    channels: int,
    image_size: int,
    hidden_dims: Sequence[int],
    activation: str,
    likelihood: str,
    scale: float | str,
    **kwargs: Any,
) -> PixelDecoder | PixelCNNDecoder:
    """A decoder by name.

    Args:
        name: ``mlp``, ``conv``, see `image_decoder`, or ``pixelcnn``, see `PixelCNNDecoder`.
        in_dim: D.
        channels: C of the images.
        image_size: H = W in pixels.
        hidden_dims: widths of the dense layers of an encoder; the decoder's run reversed.
        activation: activation of the dense layers, by name.
        likelihood: distribution of a pixel: ``bernoulli``, ``gaussian`` or
            ``discretized_logistic``.
        scale: a number, ``shared`` or ``pixel``, for the latter two.
        **kwargs: settings of the network.

    Raises:
        ValueError: unknown name or setting, or one that does not fit.
    """
    maps, known = losses.maps_per_channel(likelihood, scale), (*DECODERS, "pixelcnn")
    if name not in known:
        raise ValueError(f"unknown decoder {name!r}; choose from {', '.join(known)}")
    if name == "pixelcnn":
        if channels != 1 or likelihood != "bernoulli":
            raise ValueError(
                f"decoder pixelcnn requires one channel and likelihood bernoulli, got {channels} "
                f"and {likelihood}; decoder_kwargs.levels is the number of grey values"
            )
        check_settings("decoder pixelcnn", PixelCNNDecoder, kwargs)
        return PixelCNNDecoder(in_dim, image_size, **kwargs)
    wide = channels * (maps if scale == "pixel" else 1)
    network = image_decoder(name, in_dim, wide, image_size, hidden_dims, activation, **kwargs)
    if scale == "shared" and likelihood != "bernoulli":
        network = SharedScale(network, channels, start=-1.0)
    fixed = 1.0 if isinstance(scale, str) else float(scale)
    return PixelDecoder(network, channels, likelihood, fixed)
