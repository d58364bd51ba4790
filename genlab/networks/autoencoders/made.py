"""MADE: numbers for each variable from the variables before it, in one or several orders.

Germain, Gregor, Murray, Larochelle 2015, arXiv:1502.03509; reference code mgermain/MADE.
Departures: degrees of hidden units go round 1 ... D - 1, or are spread evenly over them, and stay,
the paper's are drawn anew with each mask; the last layer's weights start at zero, so that variables
start as independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.networks.flows.masked import MaskedLinear, degrees
from genlab.networks.layers import activation


class MaskedAutoencoder(nn.Module):
    """Dense network whose masks follow the order that it is asked for.

    Weights belong to variables and are shared by all orders.

    Args:
        dim: D.
        size: numbers for each variable.
        hidden_dims: widths of the hidden layers.
        act: name of the activation after each of them.
        orders: number of orders: the natural one, then random ones, kept in the checkpoint.
        dropout: rate after each hidden layer.

    Raises:
        ValueError: unknown activation, or an argument out of its range.
    """

    places: Tensor  # (orders, D), from 1 on
    lowest: Tensor
    highest: Tensor

    def __init__(
        self,
        dim: int,
        size: int,
        hidden_dims: Sequence[int],
        act: str = "relu",
        orders: int = 1,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if min(hidden_dims, default=0) < 1 or orders < 1 or not 0 <= dropout < 1:
            raise ValueError(
                f"hidden_dims {list(hidden_dims)} must be widths of at least 1, orders {orders} "
                f"at least 1 and dropout {dropout} in [0, 1)"
            )
        self.size = size
        drawn = [torch.arange(dim), *(torch.randperm(dim) for _ in range(orders - 1))]
        self.register_buffer("places", torch.stack(drawn) + 1)
        found = [degrees(dim, width) for width in hidden_dims]
        self.register_buffer("lowest", found[0], persistent=False)
        self.register_buffer("highest", found[-1], persistent=False)
        self.first = nn.Linear(dim, hidden_dims[0])
        layers: list[nn.Module] = [activation(act), nn.Dropout(dropout)]
        for before, after in pairwise(found):
            layers += [MaskedLinear(after[:, None] >= before), activation(act), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.last = nn.Linear(hidden_dims[-1], dim * size)
        self.direct = nn.Linear(dim, dim * size, bias=False)
        for layer in (self.last, self.direct):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor, order: int = 0) -> Tensor:
        """(B, D) -> (B, D, size): a variable's numbers from those before it in this order."""
        place = self.places[order]
        seen = place[:, None] > self.highest  # strict: no variable sees itself
        before = place[:, None] > place
        h = self.features(x, order)
        out = F.linear(h, self.last.weight * self._wide(seen), self.last.bias)
        out = out + F.linear(x, self.direct.weight * self._wide(before))
        return out.unflatten(1, (-1, self.size))

    def features(self, x: Tensor, order: int = 0) -> Tensor:
        """Hidden units: (B, D) -> (B, width of the last hidden layer)."""
        seen = self.lowest[:, None] >= self.places[order]
        found: Tensor = self.hidden(F.linear(x, self.first.weight * seen, self.first.bias))
        return found

    def _wide(self, mask: Tensor) -> Tensor:
        """A mask of variables for all of their numbers: (D, N) -> (D * size, N)."""
        return mask.repeat_interleave(self.size, 0)
