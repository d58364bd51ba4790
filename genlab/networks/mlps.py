"""Fully connected stacks."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

from genlab.networks.layers import dense_layers
from genlab.networks.norms import norm_name


def mlp(
    in_dim: int,
    *dims: int,
    activation: str = "relu",
    norm: str | None = None,
    last_norm: bool = False,
) -> nn.Sequential:
    """Linear layers of widths ``dims``; norm and activation after every one but the last.

    Args:
        in_dim: width of the input, (B, in_dim).
        dims: hidden widths and the output width; one number is a plain linear map.
        activation: name, see `layers.ACTIVATIONS`.
        norm: ``batch``, ``layer``, any other of `norms.norm_behind` for vectors, or None, between a
            hidden linear map and its activation; ``weight`` and ``cosine`` change the hidden maps.
        last_norm: batch norm without scale and shift after the last map, which loses its bias (the
            projectors of SimCLR, SimSiam and MoCo v3).

    Raises:
        ValueError: unknown activation or norm, or a width below 1.
    """
    norm_name(norm)
    if not dims or min(in_dim, *dims) < 1:
        raise ValueError(f"an MLP needs widths of at least 1, got {in_dim} -> {list(dims)}")
    layers: list[nn.Module] = []
    *hidden, last = pairwise((in_dim, *dims))
    for width, following in hidden:
        made = dense_layers(width, following, norm, activation)
        layers += [layer for layer in made if layer is not None]
    layers += [nn.Linear(*last, bias=not last_norm)]
    layers += [nn.BatchNorm1d(last[1], affine=False)] if last_norm else []
    return nn.Sequential(*layers)
