"""A small causal transformer over a grid of codes: p(codes) in raster order.

A decoder after GPT-2 (Radford et al. 2019): pre-norm blocks, learned positions, GELU. Departures:
the sequence starts with the class (its embedding stands for the token before the first), and
sampling keeps keys and values.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)).

    Args:
        width: W.
        heads: attention heads; divides W.
        dropout: rate at the end of both branches.
        causal: True to hide from each token those after it.
    """

    def __init__(self, width: int, heads: int, dropout: float, causal: bool = True) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(dropout)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, T, W), and keys and values of what came before -> the same, both extended.

        With ``past`` (2, B, heads, T', W / heads) x is one token, T = 1, which sees all of it.
        """
        b, t, w = x.shape
        qkv = self.qkv(self.norm1(x)).view(b, t, 3, self.heads, w // self.heads)
        q, *new = qkv.permute(2, 0, 3, 1, 4)  # 3 x (B, heads, T, W / heads)
        kv = torch.stack(new) if past is None else torch.cat([past, torch.stack(new)], dim=3)
        a = F.scaled_dot_product_attention(q, kv[0], kv[1], is_causal=self.causal and past is None)
        x = x + self.dropout(self.proj(a.transpose(1, 2).reshape(b, t, w)))
        return x + self.mlp(self.norm2(x)), kv


class CodeTransformer(nn.Module):
    """Embeddings, blocks and head over a grid of codes, and the image's class.

    Args:
        num_codes: K.
        shape: (h, w) of the code grid.
        width: W.
        depth: number of blocks.
        num_classes: labels 0 ... num_classes - 1 are embedded, -1 as "unknown"; 0 for no condition.
        heads: attention heads; divides W.
        dropout: rate after the embedding and in every block.

    Raises:
        ValueError: W is not a multiple of the heads, or a size is below one.
    """

    causal = True  # each token sees those before it
    masked = 0  # 1 for a code that stands for a mask, and a place of its own for the class

    def __init__(
        self,
        num_codes: int,
        shape: tuple[int, int],
        width: int = 128,
        depth: int = 4,
        num_classes: int = 0,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(width, depth, heads) < 1 or width % heads:
            raise ValueError(
                f"width {width} must be a multiple of heads {heads}, depth {depth} >= 1"
            )
        self.num_codes, self.shape = num_codes, shape
        self.embedding = nn.Embedding(num_codes + self.masked, width)
        self.label = nn.Embedding(num_classes + 1, width)
        self.position = nn.Parameter(torch.zeros(shape[0] * shape[1] + self.masked, width))
        blocks = (Block(width, heads, dropout, self.causal) for _ in range(depth))
        self.blocks = nn.ModuleList(blocks)
        self.dropout, self.norm = nn.Dropout(dropout), nn.LayerNorm(width)
        self.head = nn.Linear(width, num_codes)
        initialise(self, depth)

    def first(self, label: Tensor | None, n: int) -> Tensor:
        """The class's embedding as the first token, (n, 1, W); the last row is "unknown"."""
        unknown = self.label.num_embeddings - 1
        if label is None:
            label = torch.full((n,), unknown, device=self.position.device)
        return self.label(label.where(label >= 0, unknown))[:, None]


class CausalTransformer(CodeTransformer):
    """Logits of each code given the codes before it in raster order, and the image's class."""

    def forward(self, codes: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits (B, K, h, w) for codes (B, h, w) and labels (B,), -1 or None: unknown."""
        before = self.embedding(codes.flatten(1)[:, :-1])  # (B, hw - 1, W)
        x = torch.cat([self.first(label, len(codes)), before], dim=1) + self.position
        x = self.dropout(x)
        for block in self.blocks:
            x, _ = block(x)
        return self.head(self.norm(x)).transpose(1, 2).unflatten(2, self.shape)

    @torch.no_grad()
    def sample(self, n: int, label: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """Draw n grids of codes in raster order: (n, h, w)."""
        token, past = self.first(label, n), [None] * len(self.blocks)  # (n, 1, W)
        codes = []
        for position in self.position:
            x = token + position
            for i, block in enumerate(self.blocks):
                x, past[i] = block(x, past[i])
            p = (self.head(self.norm(x[:, 0])).float() / temperature).softmax(1)
            codes.append(torch.multinomial(p, 1))  # (n, 1)
            token = self.embedding(codes[-1])
        return torch.cat(codes, dim=1).unflatten(1, self.shape)


def initialise(network: nn.Module, depth: int) -> None:
    """Normal(0, 0.02) everywhere, smaller where a block, one of ``depth``, adds to its input."""
    for name, p in network.named_parameters():
        if p.ndim > 1:
            branches = 2 * depth if name.endswith(("proj.weight", "mlp.2.weight")) else 1
            nn.init.normal_(p, std=0.02 / branches**0.5)
        elif name.endswith("bias"):
            nn.init.zeros_(p)
