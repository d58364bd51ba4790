"""Normalisation of an image's channels before a backbone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """(image - mean) / std, channel by channel; the numbers are part of the checkpoint.

    Args:
        mean, std: one number for all channels, or one each.
        channels: C.

    Raises:
        ValueError: neither one number nor C of them, or a std that is not positive.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, channels: int, mean: Any = 0.0, std: Any = 1.0) -> None:
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
        self.register_load_state_dict_pre_hook(_fill_in)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, C, H, W)."""
        return (image - self.mean[:, None, None]) / self.std[:, None, None]


def _fill_in(module: Any, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
    """Checkpoints from before there was normalisation were trained on the image itself."""
    state_dict.setdefault(prefix + "mean", torch.zeros_like(module.mean))
    state_dict.setdefault(prefix + "std", torch.ones_like(module.std))
