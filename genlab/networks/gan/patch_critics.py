"""Patch critic: a score for every patch of an image.

Isola, Zhu, Zhou, Efros 2017, arXiv:1611.07004 (PatchGAN). Departures: no batch norm, by which the
images of a batch, and processes, would depend on each other; the last convolution has no bias,
which the hinge loss leaves without a gradient while all scores are inside the margins.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from genlab.networks.arguments import check_settings
from genlab.networks.gan.critics import spectrally_normalised
from genlab.networks.gan.generators import norm2d

PATCH_NORMS = ("none", "instance", "layer", "spectral")


class PatchCritic(nn.Module):
    """Convolutions of stride 2, then two of stride 1: (B, C, H, W) -> (B, 1, h, w).

    Args:
        channels: C of the images.
        width: channels after the first convolution; the next ones double it, up to 8 times.
        layers: halvings of the side; a score sees 16, 34 or 70 px with 1, 2 or 3.
        norm: ``none``, ``instance`` or ``layer`` after all but the first and last convolution, or
            ``spectral``, of the weights.

    Raises:
        ValueError: an unknown norm, or fewer than one layer.
    """

    def __init__(self, channels: int, width: int = 64, layers: int = 2, norm: str = "none") -> None:
        super().__init__()
        if norm not in PATCH_NORMS:
            hint = ": batch norm makes scores depend on other images" if norm == "batch" else ""
            raise ValueError(f"unknown norm {norm!r}; choose from {', '.join(PATCH_NORMS)}{hint}")
        if layers < 1 or width < 1:
            raise ValueError(f"layers {layers} and width {width} of the critic must be >= 1")
        of_maps = "none" if norm == "spectral" else norm
        body: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
        before = width
        for level in range(1, layers + 1):
            following, stride = width * min(8, 2**level), 2 if level < layers else 1
            body += [nn.Conv2d(before, following, 4, stride, 1), norm2d(of_maps, following)]
            body += [nn.LeakyReLU(0.2)]
            before = following
        self.body = nn.Sequential(*body, nn.Conv2d(before, 1, 4, 1, 1, bias=False))
        if norm == "spectral":
            spectrally_normalised(self.body)

    def forward(self, image: Tensor) -> Tensor:
        """Scores of patches: (B, C, H, W) -> (B, 1, h, w)."""
        return self.body(image)


def patch_critic(channels: int, image_size: int, **kwargs: Any) -> PatchCritic:
    """A patch critic for images of a size.

    Args:
        channels: C of the images.
        image_size: H = W in pixels.
        **kwargs: ``width``, ``layers`` and ``norm`` of `PatchCritic`; by default 2 layers, and 1
            for images below 16 px.

    Raises:
        ValueError: the images are too small for the layers.
    """
    check_settings("critic_kwargs", PatchCritic, kwargs)
    layers = int(kwargs.setdefault("layers", 2 if image_size >= 16 else 1))
    if image_size >> layers < 4:
        raise ValueError(f"critic of {layers} layers requires images of {4 << layers} px or more")
    return PatchCritic(channels, **kwargs)
