"""LeNet-5, the convolutional network for digits.

LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition".
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from genlab.networks.layers import conv_layers, dense_layers

POOLS = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


class LeNet(nn.Module):
    """C1 S2 C3 S4 C5 F6 of the paper: (B, C, H, W) -> (B, 84).

    With one channel, 28 or 32 px and a linear head of ten classes: 61,706 parameters. Departures,
    as everywhere today: ReLU for the scaled tanh, max-pooling for the trained sub-sampling, all
    connections in C3, torch's initialisation; a linear head for the radial basis functions.

    Args:
        in_chans: number of image channels.
        image_size: their side, from 12 px. 28 px are padded to the paper's 32; below 32 px the
            other sizes are padded by two pixels a side as well.
        act: activation; ``tanh`` in the paper; see `layers.ACTIVATIONS`.
        norm: norm between a layer and its activation, or null; see `norms.norm_behind`.
        init: initialisation; see `layers.INITS`.
        pool: ``max``, or ``avg`` as in the paper.
        drop_rate: dropout before F6.

    Raises:
        ValueError: images below 12 px, or an unknown pool, activation, norm or init.
    """

    def __init__(
        self,
        in_chans: int = 1,
        image_size: int = 28,
        act: str = "relu",
        pool: str = "max",
        drop_rate: float = 0.0,
        norm: str | bool | None = None,
        init: str = "torch",
    ) -> None:
        super().__init__()
        if image_size < 12:
            raise ValueError(f"lenet needs images of at least 12 px, got {image_size}")
        if pool not in POOLS:
            raise ValueError(f"unknown pool {pool!r}; choose from {', '.join(POOLS)}")
        padding = 2 if image_size < 32 else 0
        side = ((image_size + 2 * padding - 4) // 2 - 4) // 2  # 28, 32 px: 5
        how = norm, act, init
        self.c1 = _sequence(*conv_layers(in_chans, 6, 5, *how, padding=padding), POOLS[pool](2))
        self.c3 = _sequence(*conv_layers(6, 16, 5, *how, padding=0), POOLS[pool](2))
        self.c5 = _sequence(*dense_layers(16 * side**2, 120, *how), nn.Dropout(drop_rate))
        self.f6 = _sequence(*dense_layers(120, 84, *how))
        self.num_features, self.head_hidden_size = 16, 84

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 16, h, w); h = 5 for 28 and 32 px."""
        return self.c3(self.c1(x))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 84)."""
        return self.f6(self.c5(self.forward_features(x).flatten(1)))

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Layers in order, as timm's networks tell them."""
        return {"stem": r"^c1", "c3": r"^c3", "c5": r"^c5", "f6": r"^f6"}


def _sequence(*layers: nn.Module | None) -> nn.Sequential:
    return nn.Sequential(*(layer for layer in layers if layer is not None))
