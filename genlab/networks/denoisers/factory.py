"""Networks of a noisy image and a time, by name."""

from __future__ import annotations

from typing import Any

from genlab.networks.arguments import check_settings
from genlab.networks.denoisers.dit import DiT
from genlab.networks.denoisers.point_mlp import PointMLP
from genlab.networks.denoisers.squash_mlp import SquashMLP
from genlab.networks.denoisers.unet import UNet

Denoiser = UNet | DiT | PointMLP | SquashMLP
DENOISERS: dict[str, type[Denoiser]] = {
    "unet": UNet, "dit": DiT, "mlp": PointMLP, "squash": SquashMLP,
}  # fmt: skip


def denoiser(
    name: str, channels: int, image_size: int, num_classes: int = 0, **kwargs: Any
) -> Denoiser:
    """A network of a noisy image (B, C, H, W), a time (B,) and a class (B,) to such an image.

    Args:
        name: ``unet``, ``dit``; for points and small images ``mlp``, or ``squash``, which is
            smooth in time and knows no class.
        channels: C of the images.
        image_size: H = W in pixels.
        num_classes: K, 0 for none.
        **kwargs: settings of the network, see `UNet`, `DiT`, `PointMLP` and `SquashMLP`.

    Raises:
        ValueError: unknown name or setting, or a setting out of range.
    """
    if name not in DENOISERS:
        raise ValueError(f"unknown network {name!r}; choose from {', '.join(DENOISERS)}")
    check_settings(f"network {name}", DENOISERS[name], kwargs)
    return DENOISERS[name](channels, image_size, num_classes, **kwargs)
