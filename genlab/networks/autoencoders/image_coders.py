"""Encoders from an image to one vector and decoders back, by name, shared by the autoencoders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from genlab.networks.autoencoders.conv import ConvDecoder, ConvEncoder
from genlab.networks.encoders.factory import encoder
from genlab.networks.layers import activation as activation_by_name
from genlab.networks.mlps import mlp

DECODERS = ("mlp", "conv")


def default_downsamplings(image_size: int) -> int:
    """Halvings down to a map of 4 to 7 pixels: 8 -> 1, 28 -> 2, 32 -> 3, 64 -> 4."""
    return max(0, image_size.bit_length() - 3)


def image_encoder(
    name: str,
    channels: int,
    image_size: int,
    out_dim: int,
    hidden_dims: Sequence[int] = (512,),
    activation: str = "relu",
    **kwargs: Any,
) -> nn.Module:
    """A network (B, C, H, W) -> (B, out_dim).

    Args:
        name: ``mlp`` (on the flattened image), ``conv`` (`ConvEncoder`, then dense layers), or a
            backbone's name, see `encoder` (then dense layers).
        channels: number of image channels.
        image_size: side of the images in pixels.
        out_dim: width of the result, raw.
        hidden_dims: widths of the dense layers.
        activation: name of the activation of the dense layers; convolutions have ReLU.
        **kwargs: arguments of `ConvEncoder` (``downsamplings``, ``width`` ...) or `encoder`;
            ``norm`` for an MLP.

    Raises:
        ValueError: unknown name.
    """
    if name == "mlp":
        dense = mlp(
            channels * image_size**2, *hidden_dims, out_dim, activation=activation, **kwargs
        )
        return nn.Sequential(nn.Flatten(), dense)
    if name != "conv":
        backbone = encoder(name, in_chans=channels, image_size=image_size, **kwargs)
        head = mlp(backbone.out_dim, *hidden_dims, out_dim, activation=activation)
        return nn.Sequential(backbone, head)
    width = kwargs.get("width", 64)
    options = {"downsamplings": default_downsamplings(image_size), **kwargs, "width": width}
    conv = ConvEncoder(channels, width, image_size, **options)
    dense = mlp(width * conv.map_size**2, *hidden_dims, out_dim, activation=activation)
    return nn.Sequential(conv, activation_by_name(activation), nn.Flatten(), dense)


def image_decoder(
    name: str,
    in_dim: int,
    out_channels: int,
    image_size: int,
    hidden_dims: Sequence[int] = (512,),
    activation: str = "relu",
    **kwargs: Any,
) -> nn.Module:
    """A network (B, in_dim) -> (B, out_channels, H, W), raw: parameters of every pixel.

    Args:
        name: ``mlp`` or ``conv`` (dense layers, then `ConvDecoder`).
        in_dim: width of the code.
        out_channels: image channels times parameters per value.
        image_size: side of the images in pixels.
        hidden_dims: widths of the dense layers in the order of an encoder's; they run reversed.
        activation: name of the activation of the dense layers; convolutions have ReLU.
        **kwargs: arguments of `ConvDecoder` (``downsamplings`` ...); ``norm`` for an MLP.

    Raises:
        ValueError: unknown name.
    """
    if name not in DECODERS:
        raise ValueError(f"unknown decoder {name!r}; choose from {', '.join(DECODERS)}")
    dims, side = [*reversed(hidden_dims)], image_size
    if name == "mlp":
        dense = mlp(in_dim, *dims, out_channels * side**2, activation=activation, **kwargs)
        return nn.Sequential(dense, nn.Unflatten(1, (out_channels, side, side)))
    width = kwargs.get("width", 64)
    options = {"downsamplings": default_downsamplings(side), **kwargs, "width": width}
    conv = ConvDecoder(width, out_channels, side, **options)
    dense = mlp(in_dim, *dims, width * conv.map_size**2, activation=activation)
    unflatten = nn.Unflatten(1, (width, conv.map_size, conv.map_size))
    return nn.Sequential(dense, activation_by_name(activation), unflatten, conv)


class ClassMap(nn.Module):
    """Append a learned map of the class to an image as one more channel.

    With an MLP encoder this is the same family of functions as a one-hot label appended to the
    pixels, and it works with every other encoder too.

    Args:
        num_classes: K.
        image_size: side in pixels.
    """

    def __init__(self, num_classes: int, image_size: int) -> None:
        super().__init__()
        self.picture = nn.Embedding(num_classes, image_size**2)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """(B, C, H, W), (B,) -> (B, C + 1, H, W)."""
        return torch.cat([image, self.picture(label).view_as(image[:, :1])], dim=1)


class SharedScale(nn.Module):
    """Append one trained number per channel, the same at every pixel, to a decoder's maps.

    The optimal-variance trick of the sigma-VAE (Rybkin, Daniilidis, Levine 2021, arXiv:2006.13202).

    Args:
        decoder: module that gives (B, C, H, W).
        channels: C.
        start: first value.
    """

    def __init__(self, decoder: nn.Module, channels: int, start: float) -> None:
        super().__init__()
        self.decoder = decoder
        self.value = nn.Parameter(torch.full((1, channels, 1, 1), start))

    def forward(self, z: Tensor) -> Tensor:
        """(B, D) -> (B, 2C, H, W): the decoder's maps, then the constant ones."""
        maps = self.decoder(z)
        return torch.cat([maps, self.value.expand_as(maps)], dim=1)
