"""Fully connected stacks and activations by name."""

from __future__ import annotations

from itertools import pairwise

from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}
NORMS: dict[str, type[nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


def activation(name: str) -> nn.Module:
    """A fresh activation module by its name.

    Raises:
        ValueError: unknown name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; choose from {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


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
        activation: name, see `ACTIVATIONS`.
        norm: ``batch``, ``layer`` or None, between a hidden linear map and its activation.
        last_norm: batch norm without scale and shift after the last map, which loses its bias (the
            projectors of SimCLR, SimSiam and MoCo v3).

    Raises:
        ValueError: unknown activation or norm, or a width below 1.
    """
    if norm is not None and norm not in NORMS:
        raise ValueError(f"unknown norm {norm!r}; choose from {', '.join(NORMS)}")
    if not dims or min(in_dim, *dims) < 1:
        raise ValueError(f"an MLP needs widths of at least 1, got {in_dim} -> {list(dims)}")
    layers: list[nn.Module] = []
    *hidden, last = pairwise((in_dim, *dims))
    for width, following in hidden:
        layers += [nn.Linear(width, following, bias=norm is None)]
        layers += [NORMS[norm](following)] if norm is not None else []
        layers += [_activation(activation)]
    layers += [nn.Linear(*last, bias=not last_norm)]
    layers += [nn.BatchNorm1d(last[1], affine=False)] if last_norm else []
    return nn.Sequential(*layers)


_activation = activation  # `mlp` has an argument of that name
