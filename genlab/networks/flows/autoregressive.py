"""Autoregressive layers: a map of every number whose parameters come from the numbers before it.

Papamakarios, Pavlakou, Murray 2017 (MAF), arXiv:1705.07057; Kingma et al. 2016 (IAF),
arXiv:1606.04934.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.networks.flows.couplings import Change, elementwise


class Autoregressive(nn.Module):
    """z_d = map of x_d with parameters from x_1 ... x_(d-1): one pass; the inverse takes D passes.

    Args:
        net: masked network, (B, D) -> (B, D * change.size), see `masked`.
        change: map applied to every number.
    """

    def __init__(self, net: nn.Module, change: Change) -> None:
        super().__init__()
        self.net, self.change = net, change

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) -> (B, D) and the log-determinant (B,)."""
        z, log_slope = self.change.forward(x, elementwise(self.net(x), x))
        return z, log_slope.sum(1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) -> (B, D) and the log-determinant (B,)."""
        done: list[Tensor] = []
        total = z.new_zeros(len(z))
        for place, number in enumerate(z.unbind(1)):
            known = torch.stack(done, 1) if done else z[:, :0]
            x = F.pad(known, (0, z.shape[1] - place))  # what follows is not seen
            raw = elementwise(self.net(x), z)[:, place]
            value, log_slope = self.change.inverse(number, raw)
            done.append(value)
            total = total + log_slope
        return torch.stack(done, 1), total


class Inverted(nn.Module):
    """A layer whose two directions are exchanged: an autoregressive one samples in one pass.

    Args:
        layer: a flow.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, ...) -> (B, ...) and the log-determinant (B,)."""
        found: tuple[Tensor, Tensor] = self.layer.inverse(x)  # type: ignore[operator]
        return found

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, ...) -> (B, ...) and the log-determinant (B,)."""
        found: tuple[Tensor, Tensor] = self.layer(z)
        return found
