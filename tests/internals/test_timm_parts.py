"""Every private part of timm that genlab reaches for is there, and does what its function says."""

from __future__ import annotations

import sys
from typing import Any

import timm
import torch
from timm.layers import BatchNormAct2d, convert_sync_batchnorm
from timm.optim import create_optimizer_v2
from torch import nn

from genlab.internals import timm_parts as parts


def test_inner_optimizer() -> None:
    weights = [nn.Parameter(torch.ones(2))]
    plain = torch.optim.SGD(weights, 0.1)
    assert parts.inner_optimizer(plain) is plain
    ahead = create_optimizer_v2(weights, "lookahead_sgd", lr=0.1)
    inner = parts.inner_optimizer(ahead)
    assert inner is not ahead
    assert isinstance(inner, torch.optim.SGD)


def test_state_dict_filter() -> None:
    """Each of timm's three names for it, by a family that has it."""
    families = ("vit_tiny_patch16_224", "vgg11", "densenet121")
    for name, family in zip(parts.FILTERS, families, strict=True):
        with torch.device("meta"):  # without drawing weights: VGG has 133 million
            network = timm.create_model(family, pretrained=False)
        assert hasattr(sys.modules[type(network).__module__], name)
        assert parts.state_dict_filter(network) is not None
    vit = timm.create_model("vit_tiny_patch16_224", img_size=32, patch_size=8, num_classes=0)
    rename = parts.state_dict_filter(vit)
    assert rename is not None
    old: Any = {"model": timm.create_model("vit_tiny_patch16_224", num_classes=0).state_dict()}
    assert rename(old, vit)["pos_embed"].shape == vit.pos_embed.shape
    assert parts.state_dict_filter(nn.Linear(1, 1)) is None


def test_is_sync_batch_norm_act() -> None:
    synced = convert_sync_batchnorm(BatchNormAct2d(4))
    assert parts.is_sync_batch_norm_act(synced)
    assert not parts.is_sync_batch_norm_act(BatchNormAct2d(4))
    assert not parts.is_sync_batch_norm_act(nn.SyncBatchNorm(4))


def test_present_name() -> None:
    assert (
        parts.present_name("vit_base_patch32_224_clip_laion2b")
        == "vit_base_patch32_clip_224.laion2b"
    )
    assert parts.present_name("resnet50") == "resnet50"


def test_positioned() -> None:
    """The tokens of timm at the network's size, and resampled positions at another."""
    image = torch.rand(2, 3, 32, 32)
    for name in ("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"):
        vit: Any = timm.create_model(name, img_size=32, patch_size=8, depth=1)
        patches = vit.patch_embed.proj(image).permute(0, 2, 3, 1)
        found, rope = parts.positioned(vit, patches)
        assert rope is None
        assert torch.equal(found, vit._pos_embed(vit.patch_embed(image)))
        assert parts.positioned(vit, patches[:, :2])[0].shape[1] == vit.num_prefix_tokens + 8
        assert not vit.dynamic_img_size
    eva: Any = timm.create_model("eva02_tiny_patch14_224", img_size=32, patch_size=8, depth=1)
    _, rope = parts.positioned(eva, torch.rand(2, 4, 4, 192))
    assert rope is not None
    assert rope.shape[-2] == 16


def test_has_positioned() -> None:
    for name in ("vit_tiny_patch16_224", "eva02_tiny_patch14_224"):
        assert parts.has_positioned(timm.create_model(name, depth=1))
    for name in ("resnet18", "beit_base_patch16_224"):
        with torch.device("meta"):
            assert not parts.has_positioned(timm.create_model(name))
