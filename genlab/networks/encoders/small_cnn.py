"""A convolutional network of three stages for small images and quick runs."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from genlab.networks.layers import conv_layers


class SmallCNN(nn.Sequential):
    """Stages of 3x3 convolutions of doubling width with pooling between, means of quarters.

    (B, C, H, W) -> (B, 16 width). With two or three convolutions a stage it is a small VGG.

    Args:
        in_chans: number of image channels.
        width: channels of the first convolution.
        depth: convolutions of each of the three stages.
        norm: norm between a convolution and its activation, or null; see `norms.norm_behind`.
        act: activation; see `layers.ACTIVATIONS`.
        init: initialisation; see `layers.INITS`.
        standardised: weight standardisation of the convolutions.

    Raises:
        ValueError: unknown name, or no convolution in a stage.
    """

    def __init__(
        self,
        in_chans: int = 3,
        width: int = 32,
        depth: int = 1,
        norm: str | bool | None = "batch",
        act: str = "relu",
        init: str = "torch",
        standardised: bool = False,
    ) -> None:
        if depth < 1:
            raise ValueError(f"small_cnn: depth must be at least 1, got {depth}")
        layers: list[nn.Module] = []
        channels = in_chans
        for i, following in enumerate((width, 2 * width, 4 * width)):
            layers += [nn.MaxPool2d(2)] if i else []
            for _ in range(depth):
                made = conv_layers(channels, following, 3, norm, act, init, standardised)
                layers += [layer or nn.Identity() for layer in made]
                channels = following
        super().__init__(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.num_features, self.head_hidden_size = channels, 4 * channels
        self.depth = depth

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 4 width, H / 4, W / 4)."""
        for layer in list(self)[:-2]:
            x = layer(x)
        return x

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Convolutions in order, as timm's networks tell them."""
        stage = 3 * self.depth  # convolution, norm and activation each; a pooling between stages
        starts = [i * (stage + 1) + 3 * j for i in range(3) for j in range(self.depth)]
        names = ["stem", *(f"conv{i}" for i in range(2, len(starts) + 1))]
        return {n: rf"^(?:{at}|{at + 1})\." for n, at in zip(names, starts, strict=True)}
