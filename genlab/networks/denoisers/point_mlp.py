"""Dense network of a noisy point and a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from genlab.networks.denoisers.conditions import SCALE, Condition
from genlab.networks.mlps import mlp


class PointMLP(nn.Module):
    """Dense layers on the flattened image and the vector of time and class.

    Args:
        channels: C of the images.
        image_size: H = W.
        num_classes: K, 0 for none.
        hidden_dims: widths of the hidden layers.
        activation: activation between layers, by name.
        condition_dim: width of the vector of time and class, even.
        time_scale: angle of the time's fastest feature at time 1. Adaptive solvers take fewer steps
            with a smaller one.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        num_classes: int = 0,
        hidden_dims: Sequence[int] = (128, 128, 128),
        activation: str = "silu",
        condition_dim: int = 64,
        time_scale: float = SCALE,
    ) -> None:
        super().__init__()
        dim = channels * image_size**2
        self.condition = Condition(condition_dim, num_classes, time_scale)
        self.body = mlp(dim + condition_dim, *hidden_dims, dim, activation=activation)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """(B, C, H, W), (B,), (B,) -> (B, C, H, W)."""
        out: Tensor = self.body(self._joined(x, t, label))
        return out.view_as(x)

    def features(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Output of the last hidden layer: -> (B, F)."""
        out: Tensor = self.body[:-1](self._joined(x, t, label))
        return out

    def _joined(self, x: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        return torch.cat([x.flatten(1), self.condition(t, label)], 1)
