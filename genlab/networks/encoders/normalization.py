"""Normalisation of an image's channels before a backbone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from genlab.augment.pretext.tiles import own_scale, standardised


class Normalize(nn.Module):
    """(image - mean) / std, channel by channel; the numbers are part of the checkpoint.

    Args:
        mean, std: one number for all channels, or one each.
        channels: C.
        per_image: True for each image's own mean and standard deviation of each channel.

    Raises:
        ValueError: neither one number nor C of them, a std that is not positive, or numbers next to
            ``per_image``.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, channels: int, mean: Any = 0.0, std: Any = 1.0, per_image: bool = False
    ) -> None:
        super().__init__()
        for name, value in (("mean", mean), ("std", std)):
            numbers = torch.as_tensor(value, dtype=torch.float32).flatten()
            if len(numbers) not in (1, channels):
                raise ValueError(
                    f"normalize: {len(numbers)} numbers as {name}, {channels} channels"
                )
            self.register_buffer(name, numbers.expand(channels).clone())
        if not (self.std > 0).all():
            raise ValueError(f"normalize: std must be positive, got {std}")
        if per_image and (self.mean.any() or (self.std != 1).any()):
            raise ValueError("normalize: per_image cannot be combined with mean and std")
        self.per_image = False
        if per_image:
            self.take_own()
        self.register_load_state_dict_pre_hook(_fill_in)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, C, H, W)."""
        if self.per_image:
            return standardised(image)
        return (image - self.mean[:, None, None]) / self.std[:, None, None]

    def undone(self, normalised: Tensor, image: Tensor) -> Tensor:
        """An image, or a prediction of it, as before `forward`.

        Args:
            normalised: (B, C, H, W), in the scale that `forward` gives ``image``.
            image: (B, C, H, W) in [0, 1], whose numbers count with ``per_image``.
        """
        mean, std = self.mean[:, None, None], self.std[:, None, None]
        if self.per_image:
            mean, std = own_scale(image)
        return normalised * std + mean

    def take_own(self) -> None:
        """Normalise each image by its own numbers from now on, and say so in the checkpoint."""
        self.per_image = True
        self.register_buffer("own", torch.ones((), dtype=torch.long, device=self.mean.device))


def _fill_in(module: Any, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Checkpoints from before there was normalisation were trained on the image itself."""
    if prefix + "own" in state_dict and not module.per_image:
        module.take_own()
    if module.per_image:
        state_dict.setdefault(prefix + "own", module.own)
    state_dict.setdefault(prefix + "mean", torch.zeros_like(module.mean))
    state_dict.setdefault(prefix + "std", torch.ones_like(module.std))


def own_normalization(who: str, given: dict[str, Any]) -> dict[str, Any]:
    """Setting ``normalize`` of an encoder whose method standardises each image.

    Args:
        who: method or setting that does.
        given: ``encoder_kwargs``; they may say the same.

    Raises:
        ValueError: they give other numbers.
    """
    if given.get("normalize") not in (None, {"per_image": True}):
        raise ValueError(
            f"{who} cannot be combined with encoder_kwargs.normalize: each image is standardised "
            "by itself"
        )
    return {"per_image": True}
