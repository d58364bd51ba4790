"""Networks inside coupling layers: images of one size in and out, the last layer all zeros."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from genlab.networks.mlps import mlp


def dense_net(in_dim: int, out_dim: int, hidden_dims: Sequence[int], activation: str) -> nn.Module:
    """An MLP (B, in_dim) -> (B, out_dim) that starts at zero.

    Raises:
        ValueError: unknown activation, or a width below 1.
    """
    net = mlp(in_dim, *hidden_dims, out_dim, activation=activation)
    return _from_zero(net, net[-1])


def residual_mlp(in_dim: int, out_dim: int, width: int, blocks: int) -> nn.Module:
    """Neural spline flows': a linear map, residual blocks of two, a linear map: -> (B, out_dim).

    Departure: without dropout.
    """
    last = nn.Linear(width, out_dim)
    return nn.Sequential(
        nn.Linear(in_dim, width),
        *(ResidualDense(width) for _ in range(blocks)),
        nn.ReLU(),
        _from_zero(last, last),
    )


def conv_net(in_channels: int, out_channels: int, width: int) -> nn.Module:
    """Glow's: 3x3, 1x1, 3x3 convolutions of ``width`` channels, ReLU between them.

    Departure: without ActNorm inside; without the learned factor on the last layer's output.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 1),
        nn.ReLU(),
        zero_conv(width, out_channels, 3),
    )


def residual_net(in_channels: int, out_channels: int, width: int, blocks: int) -> nn.Module:
    """RealNVP's: a 3x3 convolution, residual blocks of two, a 1x1 convolution.

    Departure: without batch norm, so that the density of an image depends on no other image.
    """
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1),
        *(Residual(width) for _ in range(blocks)),
        nn.ReLU(),
        zero_conv(width, out_channels, 1),
    )


class Residual(nn.Module):
    """x + conv(relu(conv(relu(x)))).

    Args:
        width: channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x + self.second(self.first(x.relu()).relu())


class ResidualDense(nn.Module):
    """x + W2 relu(W1 relu(x)).

    Args:
        width: hidden units.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) -> (B, width)."""
        return x + self.second(self.first(x.relu()).relu())


def zero_conv(in_channels: int, out_channels: int, size: int) -> nn.Conv2d:
    """A convolution that keeps the size of the image and starts at zero."""
    conv = nn.Conv2d(in_channels, out_channels, size, padding=size // 2)
    nn.init.zeros_(conv.weight)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


def _from_zero(net: nn.Module, last: nn.Module) -> nn.Module:
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return net
