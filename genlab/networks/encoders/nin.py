"""Network in Network: convolutions followed by small networks at every pixel.

Lin, Chen, Yan 2013, arXiv:1312.4400.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from genlab.networks.layers import conv_layers

WIDTHS = ((192, 160, 96), (192, 192, 192), (192, 192, 192))  # of the authors' CIFAR-10 network


class NiN(nn.Module):
    """Three mlpconv blocks and global average pooling: (B, C, H, W) -> (B, 192).

    The paper's last 1x1 convolution gives one map per class, which is then averaged; averaging
    first and a linear head after is the same function, except for the ReLU that the authors' file
    has behind it. Departures: batch norm behind every convolution (without it the network needs
    their careful schedule; ``norm: false`` leaves it out), He initialisation for N(0, 0.05).

    Args:
        in_chans: number of image channels.
        drop_rate: dropout behind the first and second block; 0.5 in the paper.
        norm: norm between a convolution and its activation, or false; see `norms.norm_behind`.
        act: activation; see `layers.ACTIVATIONS`.
        init: initialisation; see `layers.INITS`.
        standardised: weight standardisation of the convolutions.
    """

    def __init__(
        self,
        in_chans: int = 3,
        drop_rate: float = 0.5,
        norm: str | bool | None = "batch",
        act: str = "relu",
        init: str = "he",
        standardised: bool = False,
    ) -> None:
        super().__init__()
        first, second, third = WIDTHS
        given = norm, act, init, standardised
        self.block1 = mlpconv(in_chans, first, 5, *given)
        self.pool1 = nn.Sequential(nn.MaxPool2d(3, 2, padding=1), nn.Dropout(drop_rate))
        self.block2 = mlpconv(first[-1], second, 5, *given)
        self.pool2 = nn.Sequential(nn.AvgPool2d(3, 2, padding=1), nn.Dropout(drop_rate))
        self.block3 = mlpconv(second[-1], third, 3, *given)
        self.num_features = self.head_hidden_size = third[-1]

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 192, H / 4, W / 4)."""
        x = self.pool1(self.block1(x))
        return self.block3(self.pool2(self.block2(x)))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 192)."""
        return self.forward_features(x).mean((2, 3))

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Blocks in order, as timm's networks tell them."""
        return {"stem": r"^block1", "blocks": r"^block([23])"}


def mlpconv(
    in_chans: int,
    widths: tuple[int, ...],
    kernel: int,
    norm: str | bool | None = "batch",
    act: str = "relu",
    init: str = "he",
    standardised: bool = False,
) -> nn.Sequential:
    """A convolution, then 1x1 convolutions: the same small network at every pixel."""
    layers: list[nn.Module] = []
    for i, width in enumerate(widths):
        size = kernel if i == 0 else 1
        made = conv_layers(in_chans, width, size, norm, act, init, standardised)
        layers += [layer for layer in made if layer is not None]
        in_chans = width
    return nn.Sequential(*layers)
