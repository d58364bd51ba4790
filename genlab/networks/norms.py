"""Normalisations by name, behind a layer or of its weights, for genlab's own networks."""

from __future__ import annotations

import re
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BEHIND = ("batch", "layer", "instance", "group_N", "group_of_N", "local_response", "detached_layer")
OF_WEIGHTS = ("weight", "cosine")  # these change the layer itself
GROUPS = re.compile(r"group_(?P<each>of_)?(?P<number>[1-9]\d*)")


def norm_name(norm: str | bool | None) -> str | None:
    """The name of a norm, where true is ``batch`` and false none.

    Args:
        norm: one of `BEHIND` and `OF_WEIGHTS`, with a number for N; or None.

    Raises:
        ValueError: unknown norm.
    """
    if isinstance(norm, bool):
        return "batch" if norm else None
    if norm is None or norm in BEHIND[:3] + BEHIND[5:] + OF_WEIGHTS or GROUPS.fullmatch(norm):
        return norm
    raise ValueError(f"unknown norm {norm!r}; choose from {', '.join(BEHIND + OF_WEIGHTS)}")


def norm_behind(norm: str | None, channels: int, maps: bool = False) -> nn.Module | None:
    """A fresh norm for the output of a layer; None where the norm is of its weights, or none.

    - ``batch``: Ioffe, Szegedy 2015, arXiv:1502.03167
    - ``layer``: of a vector, or of all channels and pixels of a map with a scale and shift a
      channel; Ba, Kiros, Hinton 2016, arXiv:1607.06450
    - ``instance``: of each channel's map; Ulyanov, Vedaldi, Lempitsky 2016, arXiv:1607.08022;
      with scale and shift
    - ``group_8``: in 8 groups of channels; ``group_of_16``: in groups of 16 channels; Wu, He 2018,
      arXiv:1803.08494
    - ``local_response``: see `LocalResponse`
    - ``detached_layer``: see `DetachedLayerNorm`

    Args:
        norm: name, see `norm_name`.
        channels: C of the output.
        maps: True for (B, C, H, W), False for vectors (B, C).

    Raises:
        ValueError: unknown norm, one that vectors do not have, or groups that do not divide C.
    """
    name = norm_name(norm)
    if name is None or name in OF_WEIGHTS:
        return None
    if name == "batch":
        return nn.BatchNorm2d(channels) if maps else nn.BatchNorm1d(channels)
    if name == "layer":
        return nn.GroupNorm(1, channels) if maps else nn.LayerNorm(channels)
    if name == "local_response":
        return LocalResponse()
    if name == "detached_layer":
        return DetachedLayerNorm(channels, maps)
    if name == "instance":
        if not maps:
            raise ValueError("norm instance requires feature maps")
        return nn.InstanceNorm2d(channels, affine=True)
    found = GROUPS.fullmatch(name)
    assert found is not None
    number = int(found["number"])
    if channels % number:
        raise ValueError(f"norm {name} does not divide {channels} channels")
    return nn.GroupNorm(channels // number if found["each"] else number, channels)


def has_shift(norm: str | None) -> bool:
    """True if the norm has a shift of its own, so that the layer before it needs no bias."""
    return norm is not None and norm not in ("local_response", *OF_WEIGHTS)


class LocalResponse(nn.Module):
    """Local response normalisation among neighbouring channels: x / (k + alpha sum x^2) ^ beta.

    The sum is over ``size`` channels around each. Krizhevsky, Sutskever, Hinton 2012, "ImageNet
    classification with deep convolutional neural networks", section 3.3, whose numbers are the
    defaults. Departure: torch's function takes alpha times the mean, here alpha times the sum as
    in the paper.

    Args:
        size: number n of channels, the channel's own among them.
        alpha: factor of the sum of squares.
        beta: exponent.
        k: constant.
    """

    def __init__(
        self, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 2.0
    ) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        """(B, C) or (B, C, H, W), same shape."""
        wide = x[..., None] if x.ndim == 2 else x
        alpha = self.alpha * self.size
        out = F.local_response_norm(wide, self.size, alpha, self.beta, self.k)
        return out[..., 0] if x.ndim == 2 else out


class DetachedLayerNorm(nn.Module):
    """Layer norm without a gradient through its mean and variance.

    Forward it is layer norm; backward the statistics are constants: DetachNorm of Xu, Sun, Zhang,
    Zhao, Lin 2019, arXiv:1911.07013, section 3.2.

    Args:
        channels: C.
        maps: True for (B, C, H, W), normalised over C, H and W; False for (..., C).
        eps: added to the variance.
    """

    def __init__(self, channels: int, maps: bool = False, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.maps, self.eps = maps, eps

    def forward(self, x: Tensor) -> Tensor:
        """Same shape."""
        over = (1, 2, 3) if self.maps else (-1,)
        var, mean = torch.var_mean(x.detach(), over, correction=0, keepdim=True)
        shape = (-1, 1, 1) if self.maps else (-1,)
        normed = (x - mean) * (var + self.eps).rsqrt()
        return normed * self.weight.view(shape) + self.bias.view(shape)


class CosineLinear(nn.Module):
    """Cosine between the input and each row of weights, times a scale: (..., in) -> (..., out).

    Luo, Zhan, Xue, Wang, Ren, Yang 2017, arXiv:1702.05870, without a scale; as a classifier with a
    learned one Gidaris, Komodakis 2018, arXiv:1804.09458.

    Args:
        in_dim: width of the input.
        out_dim: width of the output.
        scale: value at which the learned scale starts; None for none.
    """

    bias = None
    scale: nn.Parameter | None

    def __init__(self, in_dim: int, out_dim: int, scale: float | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Linear(in_dim, out_dim, bias=False).weight.detach())
        start = None if scale is None else torch.tensor(float(scale))
        self.scale = None if start is None else nn.Parameter(start)

    def forward(self, x: Tensor) -> Tensor:
        """Between -1 and 1, times the scale."""
        out = F.linear(F.normalize(x, dim=-1), F.normalize(self.weight, dim=1))
        return out if self.scale is None else out * self.scale


class CosineConv2d(nn.Conv2d):
    """Cosine between each patch and each kernel: see `CosineLinear`, without a scale."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **(kwargs | {"bias": False}))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out, H', W'), between -1 and 1."""
        kernel = F.normalize(self.weight.flatten(1), dim=1).view_as(self.weight)
        ones = torch.ones_like(self.weight[:1])
        options: Any = {"stride": self.stride, "padding": self.padding}
        power = F.conv2d(x * x, ones, **options)
        return F.conv2d(x, kernel, **options) * power.clamp(min=1e-12).rsqrt()
