"""Generators: networks from noise, and a class if any, to images of any side from 8 px.

DCGAN: Radford, Metz, Chintala 2015, arXiv:1511.06434; residual: Gulrajani et al. 2017,
arXiv:1704.00028, appendix C and F. Departures: kernels of 4 instead of 5 (no checkerboard, odd
sides by output padding); PyTorch's initialisation; the smallest map has 4 to 7 px at any side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.networks.arguments import check_settings
from genlab.networks.autoencoders.conv import map_sizes
from genlab.networks.autoencoders.image_coders import default_downsamplings
from genlab.networks.gan.modulation import (
    ConditionalNorm,
    Layers,
    Modulated,
    SelfModulatedNorm,
    modulate,
)
from genlab.networks.mlps import mlp

GENERATORS = ("mlp", "dcgan", "resnet")
NORMS: dict[str, Any] = {
    "none": lambda channels: nn.Identity(),
    "batch": nn.BatchNorm2d,
    "layer": lambda channels: nn.GroupNorm(1, channels),
    "instance": lambda channels: nn.InstanceNorm2d(channels, affine=True),
}
MODULATED = ("conditional", "self_modulated")
Norm = Callable[[int], nn.Module]  # of so many channels


def norm2d(name: str, channels: int) -> nn.Module:
    """A norm over maps by its name; ``layer`` takes its statistics over C, H and W.

    Raises:
        ValueError: unknown name.
    """
    if name not in NORMS:
        raise ValueError(f"unknown norm {name!r}; choose from {', '.join(NORMS)}")
    norm: nn.Module = NORMS[name](channels)
    return norm


class Generator(nn.Module):
    """A network from noise to images that also takes the class, if there are classes.

    Args:
        body: (B, latent_dim + label_dim), (B,) -> (B, C, H, W), raw.
        num_classes: K, 0 where no class is appended to the noise.
        label_dim: width of the learned vector of a class, which is appended to the noise.
        bounded: end in tanh, in [-1, 1].
    """

    def __init__(self, body: nn.Module, num_classes: int, label_dim: int, bounded: bool) -> None:
        super().__init__()
        self.body, self.bounded = body, bounded
        self.label = nn.Embedding(num_classes, label_dim) if num_classes else None

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """(B, D), (B,) -> (B, C, H, W); the label has no effect without classes."""
        if self.label is not None:
            z = torch.cat([z, self.label(label)], dim=1)
        image = self.body(z, label)
        return image.tanh() if self.bounded else image


def generator(
    name: str,
    latent_dim: int,
    channels: int,
    image_size: int,
    num_classes: int = 0,
    bounded: bool = True,
    label_dim: int | None = None,
    **kwargs: Any,
) -> Generator:
    """A generator by name.

    Args:
        name: ``mlp``, ``dcgan`` or ``resnet``.
        latent_dim: D of the noise.
        channels: C of the images.
        image_size: H = W; from 8 px but for ``mlp``.
        num_classes: K, 0 for none.
        bounded: end in tanh, in [-1, 1]; else raw.
        label_dim: width of a class's learned vector; null for 32.
        **kwargs: ``hidden_dims``, ``activation``, ``norm`` of the MLP; ``width`` (of the largest
            map) and ``norm`` of the others: ``batch``, ``layer``, ``instance``, ``none``,
            ``conditional`` (batch norm with the class's gain and shift, in place of the class's
            vector) or ``self_modulated`` (with the noise's); see `modulation`.

    Raises:
        ValueError: unknown name or norm, an image too small for convolutions, ``conditional``
            without classes, or ``label_dim`` where no class's vector is.
    """
    if name not in GENERATORS:
        raise ValueError(f"unknown generator {name!r}; choose from {', '.join(GENERATORS)}")
    if latent_dim < 1:
        raise ValueError(f"latent_dim must be at least 1, got {latent_dim}")
    if name != "mlp" and image_size < 8:
        raise ValueError(
            f"generator {name!r} requires images of at least 8 px, got {image_size}; use mlp"
        )
    bodies: dict[str, Any] = {"mlp": _mlp, "dcgan": _dcgan, "resnet": _resnet}
    check_settings(f"generator {name}", bodies[name], kwargs)
    conditional = name != "mlp" and kwargs.get("norm") == "conditional"
    if conditional and not num_classes:
        raise ValueError("norm 'conditional' requires classes; WGANGP has them with a condition")
    appended = 0 if conditional else num_classes
    if label_dim is not None and not appended:
        lack = "another norm than 'conditional'" if conditional else "classes"
        raise ValueError(f"label_dim {label_dim} requires {lack}: no class's vector is appended")
    width = 32 if label_dim is None else label_dim
    in_dim = latent_dim + (width if appended else 0)
    body = bodies[name](in_dim, num_classes, channels, image_size, **kwargs)
    return Generator(body, appended, width, bounded)


def _norms(name: str, in_dim: int, num_classes: int) -> Norm:
    """Make norms of a name, which may be modulated by ``in_dim`` numbers or the class.

    Raises:
        ValueError: unknown name.
    """
    if name not in (*NORMS, *MODULATED):
        known = ", ".join((*NORMS, *MODULATED))
        raise ValueError(f"unknown norm {name!r}; choose from {known}")
    if name == "conditional":
        return lambda channels: ConditionalNorm(channels, num_classes)
    if name == "self_modulated":
        return lambda channels: SelfModulatedNorm(channels, in_dim)
    return lambda channels: norm2d(name, channels)


def _mlp(
    in_dim: int,
    num_classes: int,
    channels: int,
    side: int,
    hidden_dims: Sequence[int] = (512, 512, 512),
    activation: str = "relu",
    norm: str | None = None,
) -> nn.Module:
    dense = mlp(in_dim, *hidden_dims, channels * side**2, activation=activation, norm=norm)
    return Layers(dense, nn.Unflatten(1, (channels, side, side)))


def _dcgan(
    in_dim: int, num_classes: int, channels: int, side: int, width: int = 64, norm: str = "batch"
) -> nn.Module:
    """Transposed convolutions; ``width`` channels on the map before the image, doubled below it."""
    make = _norms(norm, in_dim, num_classes)
    first, *sides = map_sizes(side, default_downsamplings(side))[::-1]
    widths = [width << i for i in range(len(sides))][::-1]
    layers: list[nn.Module] = [
        nn.Linear(in_dim, widths[0] * first**2),
        nn.Unflatten(1, (widths[0], first, first)),
    ]
    for wide, narrow, size in zip(widths, [*widths[1:], channels], sides, strict=True):
        up = nn.ConvTranspose2d(wide, narrow, 4, 2, 1, output_padding=size % 2)
        layers += [make(wide), nn.ReLU(), up]
    return Layers(*layers)


class UpBlock(Modulated):
    """Pre-activation residual block that enlarges the map: (B, C, h, h) -> (B, C, side, side)."""

    def __init__(self, width: int, side: int, norm: Norm) -> None:
        super().__init__()
        self.side = side
        self.norm1, self.norm2 = norm(width), norm(width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.shortcut = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, z: Tensor, label: Tensor | None) -> Tensor:
        """(B, C, h, h), (B, D), (B,) -> (B, C, side, side)."""
        h = modulate(self.norm1, x, z, label).relu()
        h = self.conv1(F.interpolate(h, self.side))
        h = self.conv2(modulate(self.norm2, h, z, label).relu())
        return h + F.interpolate(self.shortcut(x), self.side)


def _resnet(
    in_dim: int, num_classes: int, channels: int, side: int, width: int = 128, norm: str = "batch"
) -> nn.Module:
    """Residual blocks of one width."""
    make = _norms(norm, in_dim, num_classes)
    first, *sides = map_sizes(side, default_downsamplings(side))[::-1]
    return Layers(
        nn.Linear(in_dim, width * first**2),
        nn.Unflatten(1, (width, first, first)),
        *[UpBlock(width, size, make) for size in sides],
        make(width),
        nn.ReLU(),
        nn.Conv2d(width, channels, 3, padding=1),
    )
