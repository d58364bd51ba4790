"""Decoder from a feature map to an image by sub-pixel convolutions.

Shi, Caballero, Huszar, Totz, Aitken, Bishop, Rueckert, Wang 2016, arXiv:1609.05158.
Departures: maps are doubled step by step, with batch norm and ReLU between; what does not end at
the size asked for is resized to it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.networks.encoders.factory import Encoder
from genlab.networks.modes import evaluating


class SubPixelDecoder(nn.Module):
    """(B, C', h, h) -> (B, C, H, H), raw.

    Args:
        in_channels: C' of the feature map.
        out_channels: C of the result.
        in_side: h.
        out_side: H.
        width: channels between.
    """

    def __init__(
        self, in_channels: int, out_channels: int, in_side: int, out_side: int, width: int = 64
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(in_channels, width, 1, bias=False)]
        side = in_side
        while side < out_side:
            layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 4 * width, 3, padding=1)]
            layers += [nn.PixelShuffle(2)]  # channel 4 c + 2 i + j becomes pixel (i, j) of c
            side *= 2
        layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, out_channels, 3, padding=1)]
        self.layers, self.out_side = nn.Sequential(*layers), out_side

    def forward(self, features: Tensor) -> Tensor:
        """(B, C', h, h) -> (B, C, H, H)."""
        image = self.layers(features)
        if image.shape[-1] == self.out_side:
            return image
        size = (self.out_side, self.out_side)
        return F.interpolate(image, size, mode="bilinear", align_corners=False)


def map_shape(encoder: Encoder, channels: int, side: int) -> tuple[int, int]:
    """Channels and side of an encoder's last feature map, for images of a given size.

    Raises:
        ValueError: it has no feature map, or cannot take such images.
    """
    like = next(encoder.parameters())
    image = torch.zeros(1, channels, side, side, dtype=like.dtype, device=like.device)
    with evaluating(encoder), torch.no_grad():
        try:
            shape = encoder.features(image).shape
        except (RuntimeError, AssertionError) as error:
            name = encoder.architecture["name"]
            raise ValueError(f"{name} cannot take images of {side} px: {error}") from None
    return shape[1], shape[2]
