"""A dense layer over the places of a feature map, one for each channel."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ChannelwiseDense(nn.Module):
    """Every place of a channel sees all places of that channel, as in context encoders.

    Pathak et al. 2016, arXiv:1604.07379, section 3.1. (B, C, h, h) -> (B, C, h, h), with
    C h^4 weights where a dense layer would have C^2 h^4. It starts near the identity.

    Args:
        channels: C.
        side: h.
    """

    def __init__(self, channels: int, side: int) -> None:
        super().__init__()
        places = side**2
        noise = torch.randn(channels, places, places) * (0.1 / math.sqrt(places))
        self.weight = nn.Parameter(torch.eye(places) + noise)  # (C, h^2, h^2)
        self.bias = nn.Parameter(torch.zeros(channels, side, side))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, h, h) -> (B, C, h, h)."""
        mixed = torch.einsum("bcp,cpq->bcq", x.flatten(2), self.weight)
        return mixed.view_as(x) + self.bias
