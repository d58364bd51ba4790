"""DiT: a transformer of patches of a noisy image, a time and a class.

Peebles & Xie 2023, arXiv:2212.09748 (adaLN-zero); reference code facebookresearch/DiT. Departure:
labels are hidden by the method, not inside the network.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from genlab.networks.denoisers.conditions import Condition
from genlab.networks.positions import sine_positions


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Tokens (B, N, D) scaled and shifted by (B, D) each."""
    return x * (1 + scale[:, None]) + shift[:, None]


class Modulation(nn.Module):
    """Shifts, scales and gates made of the condition, all 0 at the start: (B, E) -> n x (B, D)."""

    def __init__(self, condition: int, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.linear = nn.Linear(condition, count * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, condition: Tensor) -> tuple[Tensor, ...]:
        """One vector a purpose."""
        parts: tuple[Tensor, ...] = self.linear(F.silu(condition)).chunk(self.count, 1)
        return parts


class Block(nn.Module):
    """Attention and an MLP, each behind a norm that the condition modulates and a gate."""

    def __init__(self, width: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.num_heads, hidden = num_heads, int(width * mlp_ratio)
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width)
        )
        self.modulation = Modulation(width, width, 6)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, N, D), (B, D) -> (B, N, D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)
        x = x + gate1[:, None] * self._attention(modulated(self.norm1(x), shift1, scale1))
        out: Tensor = x + gate2[:, None] * self.mlp(modulated(self.norm2(x), shift2, scale2))
        return out

    def _attention(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(2, (3, self.num_heads, -1))  # (B, N, 3, heads, D / heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v)  # (B, heads, N, D / heads)
        out: Tensor = self.out(seen.transpose(1, 2).flatten(2))
        return out


class DiT(nn.Module):
    """Transformer blocks under a time and a class; a fresh one is the identity and gives 0.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        num_classes: K, 0 for none.
        patch: side of a patch, which is a token.
        width: D of a token, a multiple of 4 that ``num_heads`` divides.
        depth: number of blocks.
        num_heads: attention heads.
        mlp_ratio: hidden width of a block's MLP over ``width``.

    Raises:
        ValueError: the patch does not divide the side, or the heads the width, or a size below 1.
    """

    positions: Tensor

    def __init__(
        self,
        channels: int,
        image_size: int,
        num_classes: int = 0,
        patch: int = 4,
        width: int = 128,
        depth: int = 4,
        num_heads: int = 4,
        mlp_ratio: float = 4.0,
    ) -> None:
        super().__init__()
        if min(patch, width, depth, num_heads, int(width * mlp_ratio)) < 1 or width % num_heads:
            raise ValueError(
                "patch, width, depth, num_heads and mlp_ratio must be at least 1, and num_heads "
                f"{num_heads} divide width {width}"
            )
        if image_size % patch:
            raise ValueError(f"patch {patch} does not divide a side of {image_size} pixels")
        self.patch, side = patch, image_size // patch
        self.grid = (side, side)
        self.condition = Condition(width, num_classes)
        self.embed = nn.Linear(channels * patch**2, width)
        self.register_buffer("positions", sine_positions(width, self.grid), persistent=False)
        self.blocks = nn.ModuleList(Block(width, num_heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulation = Modulation(width, width, 2)
        self.out = nn.Linear(width, channels * patch**2)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """(B, C, H, W), (B,), (B,) -> (B, C, H, W)."""
        condition = self.condition(t, label)
        tokens = modulated(self.norm(self._tokens(x, condition)), *self.modulation(condition))
        maps = self.out(tokens).transpose(1, 2).unflatten(2, self.grid)
        return F.pixel_shuffle(maps, self.patch)

    def features(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Mean of the last block's tokens: -> (B, D)."""
        return self.norm(self._tokens(x, self.condition(t, label))).mean(1)

    def _tokens(self, x: Tensor, condition: Tensor) -> Tensor:
        """Patches through all blocks: -> (B, N, D)."""
        patches = F.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)  # (B, N, C p p)
        tokens: Tensor = self.embed(patches) + self.positions
        for block in self.blocks:
            tokens = block(tokens, condition)
        return tokens
