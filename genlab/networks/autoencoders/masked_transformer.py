"""A small transformer that sees a grid of codes of which some are masked, and counts of masks.

Chang, Zhang, Jiang, Liu, Freeman 2022, arXiv:2202.04200 (MaskGIT). Departures: pre-norm blocks as
those of the causal transformer; the class is one more token.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from genlab.networks.autoencoders.transformer import Block, initialise


class MaskedTransformer(nn.Module):
    """Logits of every code, given those that are not masked and the image's class.

    The mask is the code K of the input; the logits are those of K codes, so that none can be it.

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
        self.embedding = nn.Embedding(num_codes + 1, width)
        self.label = nn.Embedding(num_classes + 1, width)
        self.position = nn.Parameter(torch.zeros(shape[0] * shape[1] + 1, width))
        blocks = (Block(width, heads, dropout, causal=False) for _ in range(depth))
        self.blocks = nn.ModuleList(blocks)
        self.dropout, self.norm = nn.Dropout(dropout), nn.LayerNorm(width)
        self.head = nn.Linear(width, num_codes)
        initialise(self, depth)

    def forward(self, codes: Tensor, known: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits (B, K, h, w) for codes and what of them is known (B, h, w), labels (B,)."""
        unknown = self.label.num_embeddings - 1
        if label is None:
            label = codes.new_full((len(codes),), unknown)
        first = self.label(label.where(label >= 0, unknown))[:, None]  # (B, 1, W)
        shown = codes.where(known, self.num_codes).flatten(1)  # (B, hw)
        x = self.dropout(torch.cat([first, self.embedding(shown)], dim=1) + self.position)
        for block in self.blocks:
            x, _ = block(x)
        return self.head(self.norm(x[:, 1:])).transpose(1, 2).unflatten(2, self.shape)


def masked_counts(places: int, steps: int) -> list[int]:
    """Masked places after each of T steps but the last, by the cosine schedule: 49, 8 -> 48, 45 ...

    Each step reveals one place at least. What the last step predicts is taken whole.

    Raises:
        ValueError: fewer than one step, or more than places.
    """
    if not 1 <= steps <= places:
        raise ValueError(f"steps {steps} must lie between 1 and the {places} codes of an image")
    left, counts = places, []
    for step in range(1, steps):
        share = math.cos(math.pi * step / (2 * steps))
        left = max(1, min(left - 1, math.floor(places * share + 1e-9)))
        counts.append(left)
    return counts
