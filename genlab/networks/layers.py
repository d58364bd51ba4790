"""A layer with its norm and activation, all by name: the blocks of genlab's own networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from timm.layers import StdConv2d
from torch import nn
from torch.nn.utils import parametrizations

from genlab.networks.norms import (
    OF_WEIGHTS,
    CosineConv2d,
    CosineLinear,
    has_shift,
    norm_behind,
    norm_name,
)

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}
INITS: dict[str, Callable[[Any], Any] | None] = {
    "torch": None,
    "he": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "glorot": nn.init.xavier_uniform_,
    "lecun": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear"),
    "orthogonal": nn.init.orthogonal_,
}


def activation(name: str) -> nn.Module:
    """A fresh activation module by its name.

    Raises:
        ValueError: unknown name.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"unknown activation {name!r}; choose from {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]()


def conv_layers(
    in_chans: int,
    channels: int,
    kernel: int,
    norm: str | bool | None = None,
    act: str = "relu",
    init: str = "torch",
    standardised: bool = False,
    **kwargs: Any,
) -> tuple[nn.Module, nn.Module | None, nn.Module]:
    """A convolution, its norm (None without one) and its activation.

    The convolution has a bias unless the norm has a shift.

    Args:
        in_chans: channels of the input.
        channels: channels of the output.
        kernel: side of the kernel; the map keeps its size.
        norm: name of the norm, see `norms.norm_behind`; ``weight`` (Salimans, Kingma 2016,
            arXiv:1602.07868) and ``cosine`` change the kernel.
        act: name of the activation, see `ACTIVATIONS`.
        init: name of the initialisation, see `INITS`; all but torch's own set biases to zero.
        standardised: weight standardisation: each kernel has mean 0 and variance 1 (Qiao, Wang,
            Liu, Shen, Yuille 2019, arXiv:1903.10520).
        **kwargs: further arguments of the convolution.

    Raises:
        ValueError: unknown name, groups that do not divide the channels, or standardised weights
            with a norm of the weights.
    """
    name = norm_name(norm)
    if standardised and name in OF_WEIGHTS:
        raise ValueError(f"standardised weights cannot be combined with norm {name}")
    kind: Any = StdConv2d if standardised else nn.Conv2d
    kind = CosineConv2d if name == "cosine" else kind
    options = {"padding": kernel // 2, "bias": not has_shift(name)} | kwargs
    layer = _initialised(kind(in_chans, channels, kernel, **options), init, name)
    return layer, norm_behind(name, channels, maps=True), activation(act)


def dense_layers(
    in_dim: int,
    width: int,
    norm: str | bool | None = None,
    act: str = "relu",
    init: str = "torch",
) -> tuple[nn.Module, nn.Module | None, nn.Module]:
    """A linear map, its norm (None without one) and its activation; see `conv_layers`.

    Args:
        in_dim: width of the input.
        width: width of the output.
        norm: name of the norm.
        act: name of the activation.
        init: name of the initialisation.

    Raises:
        ValueError: unknown name, or groups that do not divide the width.
    """
    name = norm_name(norm)
    layer = (
        CosineLinear(in_dim, width)
        if name == "cosine"
        else nn.Linear(in_dim, width, bias=not has_shift(name))
    )
    return _initialised(layer, init, name), norm_behind(name, width), activation(act)


def _initialised(layer: Any, init: str, norm: str | None) -> nn.Module:
    if init not in INITS:
        raise ValueError(f"unknown init {init!r}; choose from {', '.join(INITS)}")
    if (draw := INITS[init]) is not None:
        draw(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    made: nn.Module = parametrizations.weight_norm(layer) if norm == "weight" else layer
    return made
