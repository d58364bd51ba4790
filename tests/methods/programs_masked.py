"""Small masked methods on a ViT of 16 patches, and a batch for them."""

from __future__ import annotations

from typing import Any, cast

import torch

from genlab.contracts import Batch

VIT: dict[str, Any] = {
    "channels": 1,
    "image_size": 8,
    "encoder": "vit_tiny_patch16_224",
    "encoder_kwargs": {"embed_dim": 16, "depth": 2, "num_heads": 2, "patch_size": 2},
}
ROWS = (slice(0, 1), slice(1, 4), slice(4, 6))  # of a batch of 6, dealt unevenly
PATCHES_ALONE = {"class_token": False, "global_pool": "avg", "fc_norm": False}


def batch(n: int = 6, channels: int = 1, seed: int | None = 7) -> Batch:
    generator = torch.Generator().manual_seed(2)
    image = torch.rand(n, channels, 8, 8, generator=generator)
    found = {"image": image, "index": torch.arange(n), "label": torch.zeros(n).long()}
    return cast(Batch, found if seed is None else found | {"seed": seed})
