"""Attention of the last block: the weights of timm's own arithmetic."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.vision_transformer import ParallelThingsBlock
from torch import Tensor

from genlab.networks import encoder
from tests.networks.encoders.test_tokens import image, small


def by_hand(network: Any) -> Tensor:
    """Softmax of the last block's queries and keys: (B, heads, tokens, tokens)."""
    vit = network.backbone
    with torch.no_grad():
        x = vit.norm_pre(vit._pos_embed(vit.patch_embed(image())))
        for block in vit.blocks[:-1]:
            x = block(x)
        layer = vit.blocks[-1].attn
        both = layer.qkv(vit.blocks[-1].norm1(x)).unflatten(2, (3, layer.num_heads, -1))
        q, k, _ = both.permute(2, 0, 3, 1, 4)
    return (q @ k.transpose(2, 3) * layer.scale).softmax(3)


def test_the_class_token_looks_at_patches() -> None:
    network = small("deit_tiny_distilled_patch16_224").eval()
    found = network.attention(image())
    assert found.shape == (3, 2, 4, 4)
    torch.testing.assert_close(found.flatten(2), by_hand(network)[:, :, 0, 2:])


def test_patches_look_at_each_other_on_average() -> None:
    network = small("vit_base_patch16_gap_224").eval()
    found = network.attention(image()).flatten(2)
    torch.testing.assert_close(found, by_hand(network).mean(2))
    torch.testing.assert_close(found.sum(2), torch.ones(3, 2))


def test_reading_changes_nothing() -> None:
    network = small().eval()
    before = network(image())
    layer: Any = network.backbone.get_submodule("blocks.1.attn")
    fused = layer.fused_attn
    network.attention(image())
    assert layer.fused_attn == fused
    assert not layer.attn_drop._forward_pre_hooks
    assert torch.equal(network(image()), before)


@pytest.mark.parametrize("name", ["eva02_tiny_patch14_224", "vit_small_patch16_dinov3"])
def test_rotary_networks_have_attention(name: str) -> None:
    assert small(name).eval().attention(image()).shape == (3, 2, 4, 4)


def test_networks_without_are_refused() -> None:
    with pytest.raises(ValueError, match="has no tokens of patches"):
        encoder("small_cnn", 1, 8).attention(image())
    parallel = small(block_fn=ParallelThingsBlock)
    with pytest.raises(ValueError, match="has no attention maps"):
        parallel.attention(image())
