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
