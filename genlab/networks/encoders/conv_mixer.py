"""ConvMixers of any width and depth, by the paper's naming: ``convmixer_256_8``.

Trockman, Kolter 2022, arXiv:2201.09792.
"""

from __future__ import annotations

from typing import Any

from timm.models.convmixer import ConvMixer

from genlab.networks.encoders.stems import nearest_divisor


class PatchedConvMixer(ConvMixer):
    """timm's ConvMixer in patches that fit the images: (B, C, H, W) -> (B, dim).

    Args:
        in_chans: number of image channels.
        image_size: side of the images in pixels.
        dim: channels.
        depth: number of blocks.
        patch_size: side of a patch; None for about 16 x 16 patches an image.
        **kwargs: arguments of timm's ConvMixer (``kernel_size`` ...).
    """

    def __init__(
        self,
        in_chans: int = 3,
        image_size: int = 32,
        dim: int = 256,
        depth: int = 8,
        patch_size: int | None = None,
        **kwargs: Any,
    ) -> None:
        patch = patch_size or nearest_divisor(image_size, image_size / 16)
        super().__init__(dim, depth, patch_size=patch, in_chans=in_chans, num_classes=0, **kwargs)
