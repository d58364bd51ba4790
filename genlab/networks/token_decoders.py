"""Narrow transformers over the tokens of a ViT: from the visible ones to what is hidden."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from genlab.networks.encoders.tokens import Tokens
from genlab.networks.positions import sine_positions

Grid = tuple[int, int]


class TokenDecoder(nn.Module):
    """A value for every patch of the image, from the tokens of the visible ones.

    Mask tokens stand for the hidden patches, and fixed positions are added to all; the prefix
    tokens come first, without positions.

    Args:
        dim: width D of the encoder's tokens.
        grid: rows h and columns w of patches.
        out: number of values of a patch.
        width: width of the decoder; a multiple of 4 and of ``num_heads``.
        depth: number of blocks.
        num_heads: attention heads.

    Raises:
        ValueError: a width that does not fit.

    Source: He et al. 2022, arXiv:2111.06377.
    """

    positions: Tensor

    def __init__(
        self, dim: int, grid: Grid, out: int, width: int = 512, depth: int = 8, num_heads: int = 16
    ) -> None:
        super().__init__()
        self.blocks = _blocks(width, depth, num_heads)
        self.embed, self.head = nn.Linear(dim, width), nn.Linear(width, out)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mask_token = nn.Parameter(torch.empty(width).normal_(std=0.02))
        self.register_buffer("positions", sine_positions(width, grid), persistent=False)
        self.apply(_xavier)

    def forward(self, tokens: Tokens, keep: Tensor) -> Tensor:
        """Visible tokens and their places (B, K) -> (B, h w, out)."""
        first = tokens.prefix.shape[1]
        x = self.embed(torch.cat([tokens.prefix, tokens.patches], 1))  # (B, P + K, width)
        place = keep[..., None].expand_as(x[:, first:])
        hidden = self.mask_token.to(x.dtype).expand(len(x), len(self.positions), -1)
        whole = hidden.scatter(1, place, x[:, first:]) + self.positions
        x = self.norm(self.blocks(torch.cat([x[:, :first], whole], 1)))
        return self.head(x[:, first:])


class TokenPredictor(nn.Module):
    """The tokens of hidden rectangles of patches, each from the context's tokens alone.

    Args:
        dim: width D of the encoder's tokens.
        grid: rows h and columns w of patches.
        width: width of the predictor; a multiple of 4 and of ``num_heads``.
        depth: number of blocks.
        num_heads: attention heads.

    Raises:
        ValueError: a width that does not fit.

    Source: Assran et al. 2023, arXiv:2301.08243.
    """

    positions: Tensor

    def __init__(
        self, dim: int, grid: Grid, width: int = 384, depth: int = 6, num_heads: int = 12
    ) -> None:
        super().__init__()
        self.blocks = _blocks(width, depth, num_heads)
        self.embed, self.head = nn.Linear(dim, width), nn.Linear(width, dim)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mask_token = nn.Parameter(torch.empty(width).normal_(std=0.02))
        self.register_buffer("positions", sine_positions(width, grid), persistent=False)
        self.apply(_xavier)

    def forward(self, context: Tensor, at: Tensor, targets: Tensor) -> Tensor:
        """The context's tokens (B, K, D), their places, those asked for (B, M, T) -> (B, M, T, D).

        Each of the M rectangles is predicted apart from the others.
        """
        seen = self.embed(context) + self.positions[at]  # (B, K, width)
        asked = (self.mask_token + self.positions[targets]).flatten(0, 1)  # (B M, T, width)
        seen = seen.repeat_interleave(targets.shape[1], 0)
        x = self.norm(self.blocks(torch.cat([seen, asked.to(seen.dtype)], 1)))
        return self.head(x[:, seen.shape[1] :]).unflatten(0, targets.shape[:2])


def _blocks(width: int, depth: int, num_heads: int) -> nn.Sequential:
    if depth < 1 or num_heads < 1 or width % num_heads:
        raise ValueError(
            f"width {width} must be a multiple of num_heads {num_heads}, depth {depth} at least 1"
        )
    norm = nn.LayerNorm
    return nn.Sequential(
        *(Block(width, num_heads, qkv_bias=True, norm_layer=norm) for _ in range(depth))
    )


def _xavier(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
