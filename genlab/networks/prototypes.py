"""Directions that embeddings are compared with: the last layer of DINO's and iBOT's heads."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.networks.counted_norms import through
from genlab.networks.mlps import mlp


class Prototypes(nn.Module):
    """Cosines with K directions, each times its gain: (..., D) -> (..., K), float32 at least.

    A linear map with weight norm of an input of length one. With the gain held at 1 no score
    exceeds 1, and it cannot be raised in place of learning.

    Args:
        dim: D, width of the embeddings.
        count: K, number of directions.
        train_gain: True to train the gain of each direction, which begins at 1.

    Raises:
        ValueError: fewer than two directions.

    Source: Salimans, Kingma 2016, arXiv:1602.07868, as facebookresearch/dino applies it. Names of
    the parameters are those in its files (``weight_g``, ``weight_v``).
    """

    def __init__(self, dim: int, count: int, train_gain: bool = False) -> None:
        super().__init__()
        if count < 2:
            raise ValueError(f"prototypes {count} must be at least 2")
        self.weight_g = nn.Parameter(torch.ones(count, 1), requires_grad=train_gain)
        self.weight_v = nn.Parameter(nn.Linear(dim, count, bias=False).weight.detach())

    def forward(self, z: Tensor) -> Tensor:
        """(..., D) -> (..., K)."""
        with torch.autocast(z.device.type, enabled=False):
            kind = torch.promote_types(z.dtype, self.weight_v.dtype)
            unit = F.normalize(z.to(kind), dim=-1)
            return F.linear(unit, self.weight_g * F.normalize(self.weight_v, dim=1))


class PrototypeHead(nn.Module):
    """Embedding and scores: an MLP with GELU, then `Prototypes`: (..., F) -> (..., K).

    Args:
        dim: F, width of the features.
        dims: hidden widths and output width D of the MLP.
        norm: ``batch``, ``layer`` or None, between its layers.
        count: K, number of directions.
        train_gain: see `Prototypes`.
    """

    def __init__(
        self, dim: int, dims: Sequence[int], norm: str | None, count: int, train_gain: bool
    ) -> None:
        super().__init__()
        self.projector = mlp(dim, *dims, activation="gelu", norm=norm)
        small_start(self.projector)
        self.prototypes = Prototypes(dims[-1], count, train_gain)

    def forward(self, h: Tensor, counted: Tensor | None = None) -> Tensor:
        """(..., F) -> (..., K).

        Args:
            h: features.
            counted: rows (M,) bool of (M, F) that batch norm sees, of all processes; None for all
                of this process.
        """
        return self.prototypes(through(self.projector, h, counted))


def small_start(head: nn.Module) -> nn.Module:
    """Weights of linear layers from a normal of standard deviation 0.02, cut at 2, biases 0."""
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return head
