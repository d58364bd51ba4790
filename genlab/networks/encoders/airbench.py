"""The plain convolutional network of airbench, which learns CIFAR-10 in few epochs.

Jordan 2024, arXiv:2404.00498 (``airbench94.py``), which grew out of Page's ResNet-9 (2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn


class Block(nn.Module):
    """relu(bn(conv(relu(bn(pool(conv(x)))))): half the resolution, another width.

    Pooling before the norm leaves a quarter of the pixels to everything that follows.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, padding=1, bias=False)
        self.pool, self.act = nn.MaxPool2d(2), nn.ReLU()
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out, H / 2, W / 2)."""
        x = self.act(self.bn1(self.pool(self.conv1(x))))
        return self.act(self.bn2(self.conv2(x)))


class Airbench(nn.Module):
    """A stem and three blocks of two convolutions: (B, C, H, W) -> (B, widths[-1]).

    The features are the largest values of the last map, times ``scale``, as in the source.

    Departures: a trained 3x3 stem with batch norm for the frozen 2x2 whitening of training patches
    (with Muon and two epochs 84.8 % against 84.6 %: no difference); ReLU for GELU (cheaper on a
    CPU); torch's initialisation for the identity's; torch's momentum of batch norm; a norm's scale
    is trained.

    Args:
        in_chans: number of image channels.
        stem_width: channels of the stem.
        widths: channels of each block; the source's are [64, 256, 256].
        scale: factor of the features; it makes the first logits small.

    Raises:
        ValueError: no block, or a width below 1.
    """

    def __init__(
        self,
        in_chans: int = 3,
        stem_width: int = 24,
        widths: Sequence[int] = (32, 128, 128),
        scale: float = 1 / 9,
    ) -> None:
        super().__init__()
        if not widths or min(stem_width, *widths) < 1:
            raise ValueError(f"airbench requires widths of at least 1, got {stem_width}, {widths}")
        self.stem = nn.Sequential(
            nn.Conv2d(in_chans, stem_width, 3, padding=1, bias=False),
            nn.BatchNorm2d(stem_width),
            nn.ReLU(),
        )
        into = [stem_width, *widths[:-1]]
        self.blocks = nn.Sequential(*(Block(c, out) for c, out in zip(into, widths, strict=True)))
        self.scale = scale
        self.num_features = self.head_hidden_size = widths[-1]

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, widths[-1], h, w); h = H / 8 with three blocks."""
        return self.blocks(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, widths[-1])."""
        return self.forward_features(x).amax((2, 3)) * self.scale

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Stem and blocks in order, as timm's networks tell them."""
        return {"stem": r"^stem", "blocks": r"^blocks\.(\d+)"}
