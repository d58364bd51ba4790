"""Convolutional encoder and decoder between an image (any side from 4 px) and a feature map.

After the VQ-VAE's (van den Oord et al. 2017, arXiv:1711.00937; sonnet's
example): 4x4 convolutions of stride 2, then residual blocks; the decoder mirrors them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + conv1x1(relu(conv3x3(relu(x)))): (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(channels, hidden, 3, padding=1)
        self.narrow = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w)."""
        return x + self.narrow(F.relu(self.wide(F.relu(x))))


def map_sizes(image_size: int, downsamplings: int) -> list[int]:
    """Side of the feature map after 0, 1, ... halvings (rounded down): 28, 2 -> [28, 14, 7].

    Raises:
        ValueError: the map would be smaller than 1 pixel, or ``downsamplings`` is negative.
    """
    if downsamplings < 0 or image_size >> downsamplings < 1:
        raise ValueError(f"{image_size} px cannot be halved {downsamplings} times")
    return [image_size >> i for i in range(downsamplings + 1)]


def _widths(width: int, downsamplings: int) -> list[int]:
    """Channels after each halving, doubling up to ``width``: 128, 3 -> [32, 64, 128]."""
    return [max(8, width >> (downsamplings - i)) for i in range(1, downsamplings + 1)]


class ConvEncoder(nn.Module):
    """Image to feature map: (B, C, H, W) -> (B, out_channels, h, w), h = H halved (floor) n times.

    Args:
        in_channels: C of the image.
        out_channels: D of the map; a last 1x1 convolution gives it.
        image_size: H = W in pixels.
        downsamplings: number of times the side is halved, 0 or more.
        width: channels of the smallest map; the larger maps have half as many per level.
        residual_blocks: blocks on the smallest map.
        residual_width: hidden channels of a block, by default width / 4.

    Attributes:
        map_size: h = w of the map.
        out_channels: D.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        image_size: int,
        downsamplings: int = 2,
        width: int = 128,
        residual_blocks: int = 2,
        residual_width: int | None = None,
    ) -> None:
        super().__init__()
        self.map_size = map_sizes(image_size, downsamplings)[-1]
        self.out_channels = out_channels
        layers: list[nn.Module] = []
        channels = in_channels
        for following in _widths(width, downsamplings):
            layers += [nn.Conv2d(channels, following, 4, stride=2, padding=1), nn.ReLU()]
            channels = following
        layers += [nn.Conv2d(channels, width, 3, padding=1)]
        layers += [
            ResidualBlock(width, residual_width or width // 4) for _ in range(residual_blocks)
        ]
        self.layers = nn.Sequential(*layers, nn.ReLU(), nn.Conv2d(width, out_channels, 1))

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, D, h, w); the last layer has no lower precision than its weights."""
        h, last = self.layers[:-1](image), self.layers[-1]
        with torch.autocast(h.device.type, enabled=False):  # a quantiser needs the digits
            return last(h.to(last.weight.dtype))


class ConvDecoder(nn.Module):
    """Feature map to per-pixel parameters: (B, in_channels, h, w) -> (B, out_channels, H, W).

    The mirror of `ConvEncoder` with the same ``image_size``, ``downsamplings`` and ``width``; odd
    sides come back through the transposed convolution's output padding.

    Args:
        in_channels: D of the map.
        out_channels: image channels times parameters per value, raw (no activation at the end).
        image_size: H = W of the result.
        downsamplings: number of times the encoder halved the side.
        width: channels of the smallest map.
        residual_blocks: blocks on the smallest map.
        residual_width: hidden channels of a block, by default width / 4.

    Attributes:
        map_size: h = w of the map that it takes.
        in_channels: D.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        image_size: int,
        downsamplings: int = 2,
        width: int = 128,
        residual_blocks: int = 2,
        residual_width: int | None = None,
    ) -> None:
        super().__init__()
        sizes = map_sizes(image_size, downsamplings)
        self.map_size, self.in_channels = sizes[-1], in_channels
        layers: list[nn.Module] = [nn.Conv2d(in_channels, width, 3, padding=1)]
        layers += [
            ResidualBlock(width, residual_width or width // 4) for _ in range(residual_blocks)
        ]
        channels = width
        outs = [*_widths(width, downsamplings)[-2::-1], out_channels]
        for following, side in zip(outs, sizes[-2::-1], strict=False):
            up = nn.ConvTranspose2d(channels, following, 4, 2, 1, output_padding=side % 2)
            layers += [nn.ReLU(), up]
            channels = following
        if not downsamplings:
            layers += [nn.ReLU(), nn.Conv2d(width, out_channels, 3, padding=1)]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """(B, D, h, w) -> (B, out_channels, H, W)."""
        return self.layers(z)
