"""Two networks of one kind in one: the first sees the lightness of an image, the second its colour.

Zhang, Isola, Efros 2017, arXiv:1611.09842 (split-brain autoencoders).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from genlab.augment.lab import rgb_to_lab
from genlab.networks.encoders.backbones import backbone
from genlab.networks.encoders.stems import spatial

RANGE = 110.0  # of a and b


class SplitBackbone(nn.Module):
    """(B, 3, H, W) in [0, 1] -> (B, 2F): features of the two halves, which share nothing.

    Args:
        in_chans: number of image channels: 3.
        image_size: their side in pixels.
        half: name of each half; see `networks.encoder`.
        half_stem: its stem, see there.
        **half_kwargs: arguments of its constructor.

    Raises:
        ValueError: grey images, or an unknown name or argument.
    """

    def __init__(
        self,
        in_chans: int = 3,
        image_size: int = 32,
        half: str = "resnet18",
        half_stem: str | None = None,
        **half_kwargs: Any,
    ) -> None:
        super().__init__()
        if in_chans != 3:
            raise ValueError(
                f"split halves require images of 3 channels, not {in_chans}: "
                "grey images have no colour"
            )
        self.lightness = backbone(half, 1, image_size, half_stem, **half_kwargs)[0]
        self.colour = backbone(half, 2, image_size, half_stem, **half_kwargs)[0]

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2F)."""
        lightness, ab = self.split(image)
        return torch.cat([self.lightness(lightness), self.colour(ab)], 1)

    def split(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """L over 100 (B, 1, H, W), and a and b over 110 (B, 2, H, W)."""
        lab = rgb_to_lab(image)
        return lab[:, :1] / 100, lab[:, 1:] / RANGE

    def maps(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Last feature maps of the lightness and of the colour: 2 x (B, F', h, w)."""
        lightness, ab = self.split(image)
        return spatial(self.lightness, lightness), spatial(self.colour, ab)

    def forward_features(self, image: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, 2F', h, w)."""
        return torch.cat(self.maps(image), 1)
