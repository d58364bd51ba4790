"""Attention maps of a ViT's last block, head by head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from genlab.networks.encoders.tokens import tokens


@torch.no_grad()
def last_attention(vit: Any, image: Tensor, name: str) -> Tensor:
    """Attention of the class token to the patches; of all patches, their mean, without one.

    Args:
        vit: a network that passes `tokens.refuse_without_tokens`.
        image: (B, C, H, W), normalised.
        name: name of the network.

    Returns:
        (B, heads, h, w): weights of the last block, which with those of prefix tokens add to 1.

    Raises:
        ValueError: blocks without one layer of attention.
    """
    layer = getattr(vit.blocks[-1], "attn", None)
    if layer is None or not hasattr(layer, "fused_attn"):
        raise ValueError(f"encoder {name} has no attention maps: its last block has no such layer")
    seen: list[Tensor] = []
    handle = layer.attn_drop.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    fused, layer.fused_attn = layer.fused_attn, False  # a fused kernel keeps no weights
    try:
        found = tokens(vit, image)
    finally:
        layer.fused_attn = fused
        handle.remove()
    first = found.prefix.shape[1]
    rows = seen[0][:, :, :, first:]  # (B, heads, P + h w, h w)
    row = rows[:, :, 0] if getattr(vit, "cls_token", None) is not None else rows.mean(2)
    return row.unflatten(2, found.grid)
