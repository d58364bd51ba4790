"""A convolutional network of three layers for small images and quick runs."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


class SmallCNN(nn.Sequential):
    """Three 3x3 convolutions of doubling width with pooling, means of quarters.

    (B, C, H, W) -> (B, 16 width).

    Args:
        in_chans: number of image channels.
        width: channels of the first convolution.
    """

    def __init__(self, in_chans: int = 3, width: int = 32) -> None:
        layers: list[nn.Module] = []
        channels = in_chans
        for i, following in enumerate((width, 2 * width, 4 * width)):
            layers += [nn.MaxPool2d(2)] if i else []
            layers += [
                nn.Conv2d(channels, following, 3, padding=1, bias=False),
                nn.BatchNorm2d(following),
                nn.ReLU(),
            ]
            channels = following
        super().__init__(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.num_features, self.head_hidden_size = channels, 4 * channels

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 width, H / 4, W / 4)."""
        for layer in list(self)[:-2]:
            x = layer(x)
        return x

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Convolutions in order, as timm's networks tell them."""
        return {"stem": r"^[01]\.", "conv2": r"^[45]\.", "conv3": r"^[89]\."}
