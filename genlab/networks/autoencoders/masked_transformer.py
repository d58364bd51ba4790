"""A small transformer that sees a grid of codes of which some are masked, and counts of masks.

Chang, Zhang, Jiang, Liu, Freeman 2022, arXiv:2202.04200 (MaskGIT). Departures: pre-norm blocks as
those of the causal transformer; the class is one more token.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from genlab.networks.autoencoders.transformer import CodeTransformer


class MaskedTransformer(CodeTransformer):
    """Logits of every code, given those that are not masked and the image's class.

    The mask is the code K of the input; the logits are those of K codes, so that none can be it.
    """

    causal = False
    masked = 1

    def forward(self, codes: Tensor, known: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits (B, K, h, w) for codes and what of them is known (B, h, w), labels (B,)."""
        shown = codes.where(known, self.num_codes).flatten(1)  # (B, hw)
        tokens = [self.first(label, len(codes)), self.embedding(shown)]  # (B, 1 + hw, W)
        x = self.dropout(torch.cat(tokens, dim=1) + self.position)
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
