"""Dense network of a point and a time, smooth in both: the dynamics of FFJORD.

Grathwohl et al. 2019, arXiv:1810.01367; rtqichen/ffjord's ``concatsquash`` layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from genlab.networks.layers import activation as activation_by_name


class SquashLinear(nn.Module):
    """Linear map, scaled by a gate and shifted by functions of time: (B, D), (B, 1) -> (B, D').

    y = (W x + b) sigmoid(g t + h) + u t.
    """

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)
        self.gate = nn.Linear(1, out_dim)
        self.shift = nn.Linear(1, out_dim, bias=False)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Linear map of points under their times."""
        out: Tensor = self.linear(x) * self.gate(t).sigmoid() + self.shift(t)
        return out


class SquashMLP(nn.Module):
    """Layers of `SquashLinear` with a smooth activation between them, on the flattened image.

    Args:
        channels: C of the images.
        image_size: H = W.
        num_classes: must be 0, these layers know no class.
        hidden_dims: widths of the hidden layers.
        activation: activation between layers, by name; its derivative must be continuous.

    Raises:
        ValueError: classes, no hidden layer, or an activation with a kink.
    """

    def __init__(
        self,
        channels: int,
        image_size: int,
        num_classes: int = 0,
        hidden_dims: Sequence[int] = (64, 64, 64),
        activation: str = "tanh",
    ) -> None:
        super().__init__()
        if num_classes:
            raise ValueError("network squash knows no class: choose mlp, or leave classes out")
        if activation in ("relu", "leaky_relu"):
            raise ValueError(f"activation {activation!r} has a kink; choose tanh, softplus, silu")
        dim = channels * image_size**2
        if not hidden_dims:
            raise ValueError("hidden_dims must name at least one layer")
        self.layers = nn.ModuleList(SquashLinear(*pair) for pair in pairwise((dim, *hidden_dims)))
        self.out = SquashLinear(hidden_dims[-1], dim)
        self.activation = activation_by_name(activation)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """(B, C, H, W), (B,) -> (B, C, H, W); no label."""
        out: Tensor = self.out(self.features(x, t), t[:, None].to(x.dtype))
        return out.view_as(x)

    def features(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        """Output of the last hidden layer: -> (B, F)."""
        h, time = x.flatten(1), t[:, None].to(x.dtype)
        for layer in self.layers:
            h = self.activation(layer(h, time))
        return h
