"""Building blocks of flows: chains, squeezes, permutations, and factored-out halves.

Every layer maps ``forward(x) -> (z, log_det)`` and ``inverse(z) -> (x, log_det)``, log_det (B,).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.networks.flows.coupling_nets import zero_conv
from genlab.networks.flows.couplings import elementwise

LOG_STD = 4.0  # bound of the |log-deviation| of a learned prior


class Chain(nn.Module):
    """Layers one after the other; the log-determinants add up.

    Args:
        layers: flows.
    """

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, ...) -> (B, ...) and the log-determinant (B,)."""
        total = _nothing(x)
        for layer in self.layers:
            x, log_det = layer(x)
            total = total + log_det
        return x, total

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, ...) -> (B, ...) and the log-determinant (B,)."""
        total = _nothing(z)
        for layer in reversed(self.layers):
            z, log_det = layer.inverse(z)  # type: ignore[operator]
            total = total + log_det
        return z, total


class Reshape(nn.Module):
    """Reshape each image.

    Args:
        before: shape of an image.
        after: its shape afterwards.
    """

    def __init__(self, before: Sequence[int], after: Sequence[int]) -> None:
        super().__init__()
        self.before, self.after = tuple(before), tuple(after)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, *before) -> (B, *after) and zeros (B,)."""
        return x.reshape(-1, *self.after), _nothing(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, *after) -> (B, *before) and zeros (B,)."""
        return z.reshape(-1, *self.before), _nothing(z)


class Squeeze(nn.Module):
    """Every 2 x 2 block of pixels becomes four channels."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> (B, 4C, H/2, W/2) and zeros (B,)."""
        return F.pixel_unshuffle(x, 2), _nothing(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 4C, H, W) -> (B, C, 2H, 2W) and zeros (B,)."""
        return F.pixel_shuffle(z, 2), _nothing(z)


class Permute(nn.Module):
    """The channels in another order, kept in the checkpoint.

    Args:
        order: source of each channel, (C,) int64.
    """

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, ...) -> (B, C, ...) and zeros (B,)."""
        return x.index_select(1, self.order), _nothing(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, ...) -> (B, C, ...) and zeros (B,)."""
        return z.index_select(1, self.order.argsort()), _nothing(z)


class FactorOut(nn.Module):
    """Factor out half of the channels; the other half continues through ``rest``.

    The factored-out half is standardised by a Gaussian computed from the other half by a
    convolution (Glow's learned prior of a split), or left as it is (RealNVP).

    Args:
        rest: a flow (B, C/2, H, W) -> (B, D/2).
        shape: (C, H, W) of an image here.
        learned_prior: True for Glow's learned prior.
    """

    def __init__(self, rest: nn.Module, shape: Sequence[int], learned_prior: bool) -> None:
        super().__init__()
        channels, height, width = shape
        self.done_shape = (channels // 2, height, width)
        self.rest = rest
        self.prior = zero_conv(channels // 2, channels, 3) if learned_prior else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> (B, D), the factored-out half last, and log-determinant (B,)."""
        stay, done = x.chunk(2, 1)
        mean, log_std = self._gaussian(stay)
        done = (done - mean) * (-log_std).exp()
        z, log_det = self.rest(stay)
        return torch.cat([z, done.flatten(1)], 1), log_det - log_std.flatten(1).sum(1)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D) -> (B, C, H, W) and the log-determinant (B,)."""
        z, done = z.chunk(2, 1)
        stay, log_det = self.rest.inverse(z)  # type: ignore[operator]
        mean, log_std = self._gaussian(stay)
        done = done.view(-1, *self.done_shape) * log_std.exp() + mean
        return torch.cat([stay, done], 1), log_det + log_std.flatten(1).sum(1)

    def _gaussian(self, stay: Tensor) -> tuple[Tensor, Tensor]:
        if self.prior is None:
            return torch.zeros_like(stay), torch.zeros_like(stay)
        mean, raw = elementwise(self.prior(stay), stay).unbind(-1)
        return mean, LOG_STD * torch.tanh(raw / LOG_STD)


def _nothing(x: Tensor) -> Tensor:
    """A log-determinant of 0 for every image: (B,)."""
    return x.new_zeros(len(x))
