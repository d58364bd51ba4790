"""Tokens of timm's ViTs: of all patches, of chosen ones alone, or with patches masked out.

They are timm's own values where nothing is left out: class token, distillation token, registers,
positions with or without them, rotary positions, any size of image that the patches divide.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from timm.layers import apply_keep_indices_nlc
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from genlab.internals import timm_parts


class Tokens(NamedTuple):
    """A ViT's output, token by token.

    Attributes:
        prefix: class token, distillation token and registers, in timm's order: (B, P, D); P may
            be 0.
        patches: row by row of the grid: (B, h w, D); of kept patches alone, in their order.
        grid: h and w.
    """

    prefix: Tensor
    patches: Tensor
    grid: tuple[int, int]


def has_tokens(vit: Any) -> bool:
    """True for timm's plain ViTs, whose patches are cut by one convolution."""
    return timm_parts.has_positioned(vit) and not hasattr(vit.patch_embed, "backbone")


def refuse_without_tokens(vit: Any, name: str) -> None:
    """Refuse networks whose patches are not tokens of their own in every layer.

    Raises:
        ValueError: a CNN, a mixer, a hierarchical or hybrid ViT, or one that drops patches itself.
    """
    if not has_tokens(vit):
        raise ValueError(
            f"encoder {name} has no tokens of patches: this requires a plain ViT of timm, such as "
            "vit_tiny_patch16_224, deit3_small_patch16_224 or vit_small_patch14_dinov2"
        )
    if getattr(vit.patch_drop, "prob", 0):
        raise ValueError(
            f"encoder {name}: tokens cannot be combined with patch_drop_rate, which drops "
            "patches without telling which; set encoder_kwargs.patch_drop_rate: 0"
        )


def refuse_untrained(vit: Any, name: str, side: int, patches_alone: bool) -> None:
    """Refuse what a loss of tokens, or of patches' tokens alone, leaves untrained.

    Args:
        vit: a network that passes `refuse_without_tokens`.
        name: its name.
        side: H = W of the images.
        patches_alone: True if the loss does not see prefix tokens.

    Raises:
        ValueError: the last norm comes after the pooling, attention pools, prefix tokens are the
            features, or patches do not cover the image.
    """
    tall, wide = vit.patch_embed.patch_size
    if side % tall or side % wide:
        what = f"image_size {side} is not a multiple of patch_size {tall}"
        raise ValueError(what + whole_patches(side, tall))
    pool = "encoder_kwargs.class_token: false, global_pool: avg and fc_norm: false"
    if patches_alone and (vit.global_pool == "token" or vit.pool_include_prefix):
        raise ValueError(
            f"encoder {name} pools a class token, which this loss does not train: set {pool}"
        )
    if getattr(vit, "attn_pool", None) is not None:
        raise ValueError(
            f"encoder {name} pools by attention, which a loss of tokens does not train: "
            "set encoder_kwargs.global_pool: avg and encoder_kwargs.fc_norm: false"
        )
    if any(True for _ in vit.fc_norm.parameters()):
        raise ValueError(
            f"encoder {name} normalises after pooling, where a loss of tokens does not reach: "
            "set encoder_kwargs.fc_norm: false"
        )


def whole_patches(side: int, patch: int) -> str:
    """``; 96 or 112 px are whole patches``: the sizes next to one that is none; else empty."""
    below = side // patch * patch
    sizes = [str(size) for size in (below, below + patch) if size]
    return f"; {' or '.join(sizes)} px are whole patches" if side % patch else ""


def grid_of(vit: Any, height: int, width: int) -> tuple[int, int]:
    """Rows and columns of patches of an image.

    Raises:
        ValueError: another size than the network was made for, which the patches do not divide.
    """
    embed = vit.patch_embed
    tall, wide = embed.patch_size
    made_for = tuple(embed.img_size or ()) == (height, width)
    if embed.dynamic_img_pad:
        return -(-height // tall), -(-width // wide)
    if not made_for and (height % tall or width % wide):
        raise ValueError(f"images of {height} x {width} px are not whole patches, {tall} x {wide}")
    return height // tall, width // wide


def tokens(
    vit: Any,
    image: Tensor,
    keep: Tensor | None = None,
    masked: Tensor | None = None,
    mask_token: Tensor | None = None,
) -> Tokens:
    """The tokens after the last norm.

    Args:
        vit: a network that passes `refuse_without_tokens`.
        image: (B, C, H, W), normalised.
        keep: indices of the patches (B, K) that enter the blocks, the others do not; None for all.
        masked: patches (B, h w) bool in whose place ``mask_token`` stands, before positions.
        mask_token: (D,) or (1, 1, D); required with ``masked``.

    Raises:
        ValueError: a size that is not a whole number of patches, or that rotary positions lack.
    """
    grid = grid_of(vit, *image.shape[-2:])
    x = _patches(vit, image)  # (B, h, w, D)
    if masked is not None and mask_token is not None:
        there = masked.unflatten(1, grid)[..., None]
        x = torch.where(there, mask_token.to(x.dtype).view(1, 1, 1, -1), x)
    x, rope = timm_parts.positioned(vit, x)  # (B, P + h w, D)
    if rope is not None and rope.shape[-2] != grid[0] * grid[1]:
        raise ValueError(
            "rotary positions are made for one size of image: set encoder_kwargs.dynamic_img_size: "
            "true"
        )
    first = x.shape[1] - grid[0] * grid[1]
    if keep is not None:
        x = torch.cat([x[:, :first], chosen(x[:, first:], keep)], 1)
        rope = _kept(vit, rope, x, keep)
    x = vit.norm(_through(vit, vit.norm_pre(x), rope))
    return Tokens(x[:, :first], x[:, first:], grid)


def chosen(values: Tensor, index: Tensor) -> Tensor:
    """Rows of each image: (B, N, D), (B, K) -> (B, K, D)."""
    return values.gather(1, index[..., None].expand(-1, -1, values.shape[-1]))


def _patches(vit: Any, image: Tensor) -> Tensor:
    """The embedded patches at their places: (B, h, w, D)."""
    embed = vit.patch_embed
    if embed.dynamic_img_pad:
        tall, wide = embed.patch_size
        image = F.pad(image, (0, -image.shape[3] % wide, 0, -image.shape[2] % tall))
    return embed.norm(embed.proj(image).permute(0, 2, 3, 1))


def _kept(vit: Any, rope: Tensor | None, x: Tensor, keep: Tensor) -> Tensor | None:
    """Rotary positions of the kept patches of each image, as timm's blocks take them."""
    if rope is None:
        return None
    kept = apply_keep_indices_nlc(x, rope, keep)  # (B, K, dim) or (B, depth, heads, K, dim)
    return kept.transpose(0, 1) if getattr(vit, "rope_mixed", False) else kept[:, None]


def _through(vit: Any, x: Tensor, rope: Tensor | None) -> Tensor:
    mixed = getattr(vit, "rope_mixed", False)
    for k, block in enumerate(vit.blocks):
        at = block if rope is None else partial(block, rope=rope[k] if mixed else rope)
        again = vit.grad_checkpointing and torch.is_grad_enabled()
        x = checkpoint(at, x, use_reentrant=False) if again else at(x)
    return x
