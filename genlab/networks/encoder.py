"""Backbones: any timm CNN or ViT, or the lab's small CNN, as image -> feature vector."""

from __future__ import annotations

import difflib
from typing import Any

import timm
from torch import Tensor, nn


class Encoder(nn.Module):
    """A backbone without its classifier.

    Attributes:
        out_dim: width F of the features.
    """

    def __init__(self, backbone: nn.Module, out_dim: int) -> None:
        super().__init__()
        self.backbone, self.out_dim = backbone, out_dim

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, F)."""
        return self.backbone(image)


def encoder(
    name: str,
    in_chans: int = 3,
    image_size: int = 32,
    pretrained: bool = False,
    stem: str | None = None,
    **timm_kwargs: Any,
) -> Encoder:
    """A backbone by its name, without classifier.

    Args:
        name: a timm name (``resnet18``, ``vit_tiny_patch16_224`` ...) or ``small_cnn``.
        in_chans: colours of the images.
        image_size: their side in pixels; a ViT gets position embeddings for it, and below 64 px
            a patch size that leaves about 8 x 8 patches.
        pretrained: fetch timm's weights (a network is needed).
        stem: ``cifar`` gives a ResNet a 3x3 stride-1 stem without max-pool, for small images.
        **timm_kwargs: to timm's constructor (``drop_path_rate``, ``patch_size`` ...).

    Raises:
        ValueError: unknown name (the nearest are listed) or stem, or a stem on another family.
    """
    if name == "small_cnn":
        if pretrained or stem is not None:
            raise ValueError("small_cnn has neither pretrained weights nor a stem to choose")
        return Encoder(*small_cnn(in_chans, **timm_kwargs))
    if not timm.is_model(name.partition(".")[0]):
        near = difflib.get_close_matches(name, ["small_cnn", *timm.list_models()], n=3)
        raise ValueError(f"no encoder {name!r}" + (f"; nearest: {', '.join(near)}" if near else ""))
    options = _vit_options(name, image_size) | timm_kwargs
    backbone: Any = timm.create_model(
        name, pretrained=pretrained, in_chans=in_chans, num_classes=0, **options
    )
    if stem is not None:
        _replace_stem(backbone, name, stem, in_chans)
    return Encoder(backbone, int(backbone.num_features))


def small_cnn(in_chans: int, width: int = 32) -> tuple[nn.Module, int]:
    """Three 3x3 convolutions of doubling width with pooling, means of quarters; and its width."""
    layers: list[nn.Module] = []
    for i, (c, following) in enumerate(
        [(in_chans, width), (width, 2 * width), (2 * width, 4 * width)]
    ):
        layers += [nn.MaxPool2d(2)] if i else []
        layers += [
            nn.Conv2d(c, following, 3, padding=1, bias=False),
            nn.BatchNorm2d(following),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten()), 16 * width


def _vit_options(name: str, image_size: int) -> dict[str, Any]:
    """What a ViT must be told about small images: timm's plain ViTs and DeiTs."""
    if not name.startswith(("vit_", "deit", "eva", "beit", "cait")):
        return {}
    small = {"patch_size": max(2, image_size // 8)} if image_size <= 64 else {}
    return {"img_size": image_size} | small


def _replace_stem(backbone: nn.Module, name: str, stem: str, in_chans: int) -> None:
    if stem != "cifar":
        raise ValueError(f"stem {stem!r} is none of: cifar")
    first = getattr(backbone, "conv1", None)
    if not isinstance(first, nn.Conv2d) or not hasattr(backbone, "maxpool"):
        raise ValueError(f"stem 'cifar' is for ResNets with one stem convolution, not {name}")
    backbone.conv1 = nn.Conv2d(in_chans, first.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(backbone.conv1.weight, mode="fan_out", nonlinearity="relu")
    backbone.maxpool = nn.Identity()
