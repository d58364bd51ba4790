"""Wide residual networks WRN-d-k for small images.

Zagoruyko, Komodakis 2016, arXiv:1605.07146; the variant of FixMatch (Sohn et al. 2020,
arXiv:2001.07685) after google-research/fixmatch's ``libml/models.py``.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch.nn.functional as F
from timm.models import checkpoint_seq
from torch import Tensor, nn


class Variant(NamedTuple):
    """Differences between the two published forms; both have the same parameters."""

    bn_momentum: float  # torch's: the share of the new batch
    bn_eps: float
    slope: float  # of the leaky ReLU
    activated: bool  # a widening shortcut sees the activated input (FixMatch: the first alone)


VARIANTS = {
    "paper": Variant(0.1, 1e-5, 0.0, True),
    "fixmatch": Variant(0.001, 1e-3, 0.1, False),
}


class Block(nn.Module):
    """Pre-activated: x + conv(act(bn(conv(act(bn(x)))))), dropout between the convolutions."""

    def __init__(
        self, channels: int, out: int, stride: int, variant: Variant, activate: bool, drop: float
    ) -> None:
        super().__init__()
        norm = partial(nn.BatchNorm2d, eps=variant.bn_eps, momentum=variant.bn_momentum)
        self.bn1 = norm(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn2 = norm(out)
        self.drop = nn.Dropout(drop)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        same = channels == out and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(channels, out, 1, stride, bias=False)
        self.activate, self.slope = activate, variant.slope

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out, H / stride, W / stride)."""
        active = F.leaky_relu(self.bn1(x), self.slope)
        hidden = F.leaky_relu(self.bn2(self.conv1(active)), self.slope)
        return self.shortcut(active if self.activate else x) + self.conv2(self.drop(hidden))


class WideResNet(nn.Module):
    """A 3x3 stem and three stages of widths 16k, 32k, 64k: (B, C, H, W) -> (B, 64k).

    WRN-28-2 with a linear head of ten classes: 1,467,610 parameters.

    Args:
        in_chans: number of image channels.
        depth: d = 6 n + 4, n blocks a stage.
        width: k.
        drop_rate: dropout between the convolutions of a block (the paper's 0.3 on CIFAR).
        variant: ``paper``, or ``fixmatch``: batch norm's momentum .999 in TensorFlow's sense
            (torch .001) and eps 1e-3, leaky ReLU of slope 0.1, the input activated before the
            shortcut in the first block alone.

    Raises:
        ValueError: a depth that is not 6 n + 4, a width below 1, or an unknown variant.
    """

    def __init__(
        self,
        in_chans: int = 3,
        depth: int = 28,
        width: int = 2,
        drop_rate: float = 0.0,
        variant: str = "paper",
    ) -> None:
        super().__init__()
        if depth < 10 or depth % 6 != 4 or width < 1:
            raise ValueError(f"a WRN's depth is 10, 16, 22, 28 ..., not {depth}; its width >= 1")
        if variant not in VARIANTS:
            raise ValueError(f"unknown variant {variant!r}; choose from {', '.join(VARIANTS)}")
        kind, channels = VARIANTS[variant], 16
        self.conv1 = nn.Conv2d(in_chans, channels, 3, padding=1, bias=False)
        stages = []
        for s in range(3):
            out, blocks = 16 * width * 2**s, []
            for i in range((depth - 4) // 6):
                widens = channels != out
                activate = widens if kind.activated else i == s == 0
                stride = 2 if i == 0 and s > 0 else 1
                blocks.append(Block(channels, out, stride, kind, activate, drop_rate))
                channels = out
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.BatchNorm2d(channels, eps=kind.bn_eps, momentum=kind.bn_momentum)
        self.slope, self.grad_checkpointing = kind.slope, False
        self.num_features = self.head_hidden_size = channels
        for m in self.modules():
            if isinstance(m, nn.Conv2d):  # both sources: fan out
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Compute the blocks anew in the backward pass instead of keeping their activations."""
        self.grad_checkpointing = enable

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 64k, H / 4, W / 4)."""
        x, blocks = self.conv1(x), [block for stage in self.stages for block in stage]  # type: ignore[attr-defined]
        x = checkpoint_seq(blocks, x) if self.grad_checkpointing else self.stages(x)
        return F.leaky_relu(self.norm(x), self.slope)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 64k)."""
        return self.forward_features(x).mean((2, 3))

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Stages (coarse) or blocks in order, as timm's networks tell them."""
        blocks = r"^stages\.(\d+)" if coarse else r"^stages\.(\d+)\.(\d+)"
        return {"stem": r"^conv1", "blocks": [(blocks, None), (r"^norm", (99999,))]}
