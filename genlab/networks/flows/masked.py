"""Masked networks: the output at a place depends on the inputs at the places before it alone.

Germain, Gregor, Murray, Larochelle 2015 (MADE), arXiv:1502.03509. Degrees of hidden units go round
1 ... D - 1, as in the reference code of MAF (gpapamak/maf, ``sequential``), not at random. The
residual network is that of Durkan et al. 2019, arXiv:1906.04032, without its dropout. Departures:
the last layer starts at zero, so that a flow starts as the identity; fewer units than D - 1 have
degrees spread evenly over them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.networks.layers import activation


class MaskedLinear(nn.Linear):
    """A linear map some of whose weights are always 0.

    Args:
        mask: (outputs, inputs), True where a weight acts; kept in the checkpoint.
    """

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__(mask.shape[1], mask.shape[0])
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs) -> (B, outputs)."""
        return F.linear(x, self.weight * self.mask, self.bias)


class MaskedResidual(nn.Module):
    """x + W2 relu(W1 relu(x)), masked.

    Args:
        mask: (width, width), of both maps.
    """

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.first, self.second = MaskedLinear(mask), MaskedLinear(mask)

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) -> (B, width)."""
        return x + self.second(self.first(x.relu()).relu())


class MaskedContextNet(nn.Module):
    """MADE whose outputs all depend on further numbers: IAF's, given an image.

    Args:
        dim: D.
        size: numbers for each place.
        hidden_dims: widths of the hidden layers.
        act: name of the activation after each of them.
        context: number of those further numbers; they enter the first layer.
    """

    def __init__(
        self, dim: int, size: int, hidden_dims: Sequence[int], act: str, context: int
    ) -> None:
        super().__init__()
        self.net = masked_net(dim, size, hidden_dims, act)
        self.context = nn.Linear(context, hidden_dims[0], bias=False)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """(..., B, D), (B, context) -> (..., B, D * size)."""
        x = self.net[0](x) + self.context(context)
        found: Tensor = self.net[1:](x)
        return found


def masked_net(dim: int, size: int, hidden_dims: Sequence[int], act: str) -> nn.Sequential:
    """MADE: (B, D) -> (B, D * size), the ``size`` numbers of a place together.

    Args:
        dim: D.
        size: numbers for each place.
        hidden_dims: widths of the hidden layers.
        act: name of the activation after each of them.

    Raises:
        ValueError: unknown activation, or a width below 1.
    """
    if min(hidden_dims, default=0) < 1:
        raise ValueError(f"hidden_dims {list(hidden_dims)} must be widths of at least 1")
    before, layers = _places(dim), list[nn.Module]()
    for width in hidden_dims:
        layers += [MaskedLinear(degrees(dim, width)[:, None] >= before), activation(act)]
        before = degrees(dim, width)
    return nn.Sequential(*layers, _last(dim, size, before))


def masked_residual_net(dim: int, size: int, width: int, blocks: int) -> nn.Sequential:
    """Residual MADE: (B, D) -> (B, D * size).

    Args:
        dim: D.
        size: numbers for each place.
        width: hidden units of each layer.
        blocks: residual blocks of two layers.
    """
    found = degrees(dim, width)
    inside = found[:, None] >= found
    return nn.Sequential(
        MaskedLinear(found[:, None] >= _places(dim)),
        *(MaskedResidual(inside) for _ in range(blocks)),
        nn.ReLU(),
        _last(dim, size, found),
    )


def _last(dim: int, size: int, before: Tensor) -> MaskedLinear:
    """The output layer, strict: a place does not see itself."""
    layer = MaskedLinear((_places(dim)[:, None] > before).repeat_interleave(size, 0))
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _places(dim: int) -> Tensor:
    return torch.arange(dim) + 1


def degrees(dim: int, width: int) -> Tensor:
    """Degrees of hidden units, which see the places up to theirs: (width,) of 1 ... D - 1.

    In turn, or spread evenly from 1 to D - 1 where there are fewer units: in turn, no unit would
    see the last places.
    """
    most = max(dim - 1, 1)
    if width < most:
        return torch.arange(width) * (most - 1) // max(width - 1, 1) + 1
    return torch.arange(width) % most + 1
