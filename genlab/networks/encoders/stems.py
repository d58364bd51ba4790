"""Stems and patch sizes of timm networks for small images, and their feature maps."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

SMALL = 64  # px; up to here patches are cut smaller than the network's name says

STEMS = {"cifar": 1, "cifar_pad2": 2}  # name -> padding of the 3x3 convolution


def small_patches(network: Any, image_size: int) -> dict[str, int]:
    """Constructor arguments with which a network sees a small image as more than a few patches.

    A network of one scale (ViT, mixer) gets about 8 x 8 patches; one with windows (Swin) about
    16 x 16, which its stages halve, in windows of up to 8 that fit. Empty where nothing is to be
    changed: large images, convolutional pyramids, patches that are small already.
    """
    strides = {info["reduction"] for info in _feature_info(network)}
    embed = getattr(network, "patch_embed", None)
    if image_size > SMALL or not strides or hasattr(embed, "backbone"):
        return {}
    if len(strides) == 1:
        patch = nearest_divisor(image_size, image_size / 8)
        return {"patch_size": patch} if patch < min(strides) else {}
    if min(strides) != 4 or not hasattr(embed, "proj") or not hasattr(network, "layers"):
        return {}
    patch = min(4, nearest_divisor(image_size, image_size / 16))
    grid = image_size // patch
    return {"patch_size": patch, "window_size": max(w for w in range(1, 9) if grid % w == 0)}


def nearest_divisor(size: int, wanted: float) -> int:
    """The patch of 2 px or more that divides ``size`` and is nearest: 28, 3.5 -> 4.

    A side without a fitting divisor (31, 29 ...) loses its last pixels to a patch that does not.
    """
    fitting = [p for p in range(2, size + 1) if size % p == 0 and wanted / 2 <= p <= 2 * wanted]
    plain = max(2, round(wanted))
    return min(fitting, key=lambda p: abs(p - wanted) - p * 1e-6, default=plain)


def repatch(network: Any, patch: int, image_size: int) -> None:
    """Give a mixer, whose patch size timm's names fix, another one; the weights are new.

    Raises:
        ValueError: another family.
    """
    stem: Any = getattr(network, "stem", None)
    first = stem[0] if isinstance(stem, nn.Sequential) else getattr(stem, "proj", None)
    if not isinstance(first, nn.Conv2d) or first.stride != first.kernel_size:
        raise ValueError(f"{type(network).__name__} cannot change its patch_size")
    fresh = nn.Conv2d(first.in_channels, first.out_channels, patch, patch)
    if isinstance(stem, nn.Sequential):  # ConvMixer
        stem[0] = fresh
    else:  # MLP-Mixer, ResMLP, gMLP
        stem.proj, stem.patch_size = fresh, (patch, patch)
        stem.set_input_size((image_size, image_size))


def replace_stem(network: Any, name: str, stem: str, in_chans: int) -> None:
    """3x3 at stride 1 for the stem's convolution, and no max-pool (SimCLR's appendix B.9).

    Args:
        network: network to change.
        name: its name.
        stem: ``cifar``; ``cifar_pad2`` as in solo-learn, whose maps are two pixels larger.
        in_chans: number of image channels.

    Raises:
        ValueError: unknown stem, or no ResNet with one stem convolution.
    """
    if stem not in STEMS:
        raise ValueError(f"unknown stem {stem!r}; choose from {', '.join(STEMS)}")
    nested = hasattr(getattr(network, "stem", None), "conv")  # ResNet v2
    owner, conv, pool = (network.stem, "conv", "pool") if nested else (network, "conv1", "maxpool")
    first = getattr(owner, conv, None)
    if not isinstance(first, nn.Conv2d) or not hasattr(owner, pool):
        raise ValueError(f"stem {stem!r} is for ResNets with one stem convolution, not {name}")
    fresh = type(first)(in_chans, first.out_channels, 3, padding=STEMS[stem], bias=False)
    nn.init.kaiming_normal_(fresh.weight, mode="fan_out", nonlinearity="relu")
    setattr(owner, conv, fresh)
    setattr(owner, pool, nn.Identity())


def spatial(backbone: Any, image: Tensor) -> Tensor:
    """A network's last feature map as (B, F', h, w), whatever order its family keeps it in.

    Raises:
        ValueError: it has no feature map.
    """
    if not hasattr(backbone, "forward_features"):
        raise ValueError(f"{type(backbone).__name__} has no forward_features, so no feature map")
    x = backbone.forward_features(image)
    if not isinstance(x, Tensor):
        return backbone.forward_intermediates(image, indices=1, intermediates_only=True)[-1]
    if x.ndim == 3:  # (B, prefix + h w, F)
        prefix = getattr(backbone, "num_prefix_tokens", x.shape[1] - math.isqrt(x.shape[1]) ** 2)
        tokens = x[:, prefix:]
        side = math.isqrt(tokens.shape[1])
        if side * side == tokens.shape[1] > 0:
            return tokens.transpose(1, 2).unflatten(2, (side, side))
    width = getattr(backbone, "num_features", x.shape[1])
    if x.ndim == 4 and width in (x.shape[1], x.shape[3]):
        return x if x.shape[1] == width else x.permute(0, 3, 1, 2)
    raise ValueError(f"{type(backbone).__name__} has no feature map: {tuple(x.shape)}")


def _feature_info(network: Any) -> list[dict[str, Any]]:
    info = getattr(network, "feature_info", [])
    return list(getattr(info, "info", info))
