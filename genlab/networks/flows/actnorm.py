"""ActNorm: a scale and a shift per channel that start by standardising the first batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from genlab import distributed

MIN_STD = 1e-3  # of a channel: a constant one would be blown up a million times


class ActNorm(nn.Module):
    """z = (x + shift) * exp(log_scale), learned, after a start from data.

    The first forward pass in training mode, with gradients on, gives every channel mean 0 and
    variance 1 over the batch of all processes. Evaluation and the inverse never do: until then
    this is the identity. That it is done is part of the state dict.

    Args:
        channels: C of (B, C, H, W), or of (B, C).

    Source: Kingma & Dhariwal 2018 (Glow), arXiv:1807.03039, section 3.1. Departure: the reference
    code takes the statistics of one process.
    """

    initialised: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(channels))
        self.log_scale = nn.Parameter(torch.zeros(channels))
        self.register_buffer("initialised", torch.zeros((), dtype=torch.uint8))
        self.done = False  # the buffer's value, known without asking an accelerator
        self.register_load_state_dict_post_hook(_forget)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, ...) -> (B, C, ...) and the log-determinant (B,)."""
        if self.training and torch.is_grad_enabled() and not self.done:
            if not self.initialised:
                self._initialise(x)
            self.done = True
        z = (x + _per_channel(self.shift, x)) * _per_channel(self.log_scale.exp(), x)
        return z, self._log_det(x)

    def inverse(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, ...) -> (B, C, ...) and the log-determinant (B,)."""
        x = z * _per_channel((-self.log_scale).exp(), z) - _per_channel(self.shift, z)
        return x, -self._log_det(z)

    @torch.no_grad()
    def _initialise(self, x: Tensor) -> None:
        """Take shift and scale from the batch of all processes."""
        rows = x.detach().movedim(1, -1).reshape(-1, x.shape[1]).to(self.shift.dtype)
        count = distributed.all_reduce_sum(rows.new_tensor([float(len(rows))]))
        mean = distributed.all_reduce_sum(rows.sum(0)) / count
        var = distributed.all_reduce_sum((rows - mean).square().sum(0)) / count
        std = var.sqrt().clamp(min=MIN_STD) if count > 1 else torch.ones_like(var)
        self.shift.copy_(-mean)
        self.log_scale.copy_(-std.log())
        self.initialised.fill_(1)

    def _log_det(self, x: Tensor) -> Tensor:
        return (self.log_scale.sum() * x[0, 0].numel()).expand(len(x))


def _forget(module: Any, incompatible: Any) -> None:
    """After a state dict was loaded the buffer must be asked again."""
    module.done = False


def _per_channel(value: Tensor, x: Tensor) -> Tensor:
    return value.view(-1, *[1] * (x.ndim - 2))
