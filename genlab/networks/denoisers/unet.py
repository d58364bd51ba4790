"""UNet of a noisy image and a time.

Ho, Jain, Abbeel 2020, arXiv:2006.11239; scale and shift by the condition, and heads of a fixed
width: Dhariwal & Nichol 2021, arXiv:2105.05233. Departures: any side of the image, since maps grow
back to the sizes that they had; patches as channels keep the largest maps small; groups of at least
four channels. The last convolutions of residual branches and of the network start from zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.networks.denoisers.conditions import Condition

HEAD = 32  # channels of an attention head


def group_norm(channels: int) -> nn.GroupNorm:
    """At most 32 groups of at least four channels, where the number of channels allows it."""
    return nn.GroupNorm(math.gcd(channels, max(1, channels // 4), 32), channels)


def zero(layer: nn.Conv2d) -> nn.Conv2d:
    """The same layer with weights and bias of zero."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Block(nn.Module):
    """Residual block under a condition: (B, C, h, w), (B, E) -> (B, C', h, w)."""

    def __init__(self, in_chans: int, out_chans: int, condition: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = group_norm(in_chans), group_norm(out_chans)
        self.conv1 = nn.Conv2d(in_chans, out_chans, 3, padding=1)
        self.conv2 = zero(nn.Conv2d(out_chans, out_chans, 3, padding=1))
        self.condition = nn.Linear(condition, 2 * out_chans)
        self.dropout = nn.Dropout(dropout)
        same = in_chans == out_chans
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_chans, out_chans, 1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """The condition scales and shifts normed channels."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.condition(F.silu(condition))[:, :, None, None].chunk(2, 1)
        h = self.norm2(h) * (1 + scale) + shift
        out: Tensor = self.shortcut(x) + self.conv2(self.dropout(F.silu(h)))
        return out


class Attention(nn.Module):
    """Self-attention of a map's places, residual: (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = math.gcd(channels, max(1, channels // HEAD))
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zero(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Every place looks at every place."""
        qkv = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1))
        q, k, v = qkv.transpose(-1, -2).unbind(1)  # (B, heads, h w, C / heads)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2)
        out: Tensor = x + self.out(seen.flatten(1, 2).reshape(x.shape))
        return out


class Stage(nn.Module):
    """A block, and attention where maps are small."""

    def __init__(self, block: Block, attention: nn.Module) -> None:
        super().__init__()
        self.block, self.attention = block, attention

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, h, w), (B, E) -> (B, C', h, w)."""
        out: Tensor = self.attention(self.block(x, condition))
        return out


class UNet(nn.Module):
    """Residual blocks from the image down to a small map and back, with all maps joined on the way.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        num_classes: K, 0 for none.
        width: channels of the largest map.
        multipliers: channels of each level over ``width``; every level but the first halves sides.
        blocks: residual blocks of a level on the way down; one more on the way up.
        attention: largest side of maps with attention.
        patch: side of the patches whose pixels become channels.
        dropout: fraction of channels' values dropped inside blocks.

    Raises:
        ValueError: the patch does not divide the side, or a size is below 1.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        num_classes: int = 0,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 1,
        attention: int = 8,
        patch: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(width, blocks, patch, *multipliers) < 1 or width % 2:
            raise ValueError("width (even), multipliers, blocks and patch must be at least 1")
        if image_size % patch:
            raise ValueError(f"patch {patch} does not divide a side of {image_size} pixels")
        self.patch, inner = patch, channels * patch**2
        self.condition = Condition(4 * width, num_classes)
        widths = [width * multiplier for multiplier in multipliers]
        sides = [-(-(image_size // patch) // 2**level) for level in range(len(widths))]

        def stage(in_chans: int, level: int) -> Stage:
            block = Block(in_chans, widths[level], 4 * width, dropout)
            looks = sides[level] <= attention
            return Stage(block, Attention(widths[level]) if looks else nn.Identity())

        self.stem = nn.Conv2d(inner, widths[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        joined = [widths[0]]  # channels of the maps that the way up joins
        for level, wide in enumerate(widths):
            if level:
                self.down.append(nn.Conv2d(joined[-1], joined[-1], 3, 2, 1))
                joined.append(joined[-1])
            for _ in range(blocks):
                self.down.append(stage(joined[-1], level))
                joined.append(wide)
        current = widths[-1]
        last = Block(current, current, 4 * width, dropout)
        self.middle = nn.ModuleList([stage(current, -1), last])
        for level in reversed(range(len(widths))):
            for _ in range(blocks + 1):
                self.up.append(stage(current + joined.pop(), level))
                current = widths[level]
            if level:
                self.up.append(nn.Conv2d(current, current, 3, padding=1))
        self.norm, self.out = group_norm(current), zero(nn.Conv2d(current, inner, 3, padding=1))

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """(B, C, H, W), (B,), (B,) -> (B, C, H, W)."""
        condition = self.condition(t, label)
        h, joined = self._downward(x, condition)
        for part in self.up:
            if isinstance(part, Stage):
                h = part(torch.cat([h, joined.pop()], 1), condition)
            else:
                h = part(F.interpolate(h, joined[-1].shape[-2:]))
        return F.pixel_shuffle(self.out(F.silu(self.norm(h))), self.patch)

    def features(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Mean of the smallest map over its places: -> (B, F)."""
        return self._downward(x, self.condition(t, label))[0].mean((2, 3))

    def _downward(self, x: Tensor, condition: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The smallest map, and the maps that the way up joins."""
        h: Tensor = self.stem(F.pixel_unshuffle(x, self.patch))
        joined = [h]
        for part in self.down:
            h = part(h, condition) if isinstance(part, Stage) else part(h)
            joined.append(h)
        for middle in self.middle:
            h = middle(h, condition)
        return h, joined
