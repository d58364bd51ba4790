"""Backbones by name: shapes on small images, the small-image stem, and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab.networks import encoder, image_encoder


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("small_cnn", 8, {}),
        ("resnet10t", 32, {}),
        ("resnet18", 28, {"stem": "cifar"}),
        ("vit_tiny_patch16_224", 28, {"depth": 2}),
        ("vit_tiny_patch16_224", 64, {"depth": 2}),
    ],
)
def test_features_have_the_announced_width(name: str, size: int, options: dict[str, Any]) -> None:
    network = encoder(name, in_chans=1, image_size=size, **options).eval()
    assert network(torch.rand(2, 1, size, size)).shape == (2, network.out_dim)


def test_cifar_stem_keeps_the_resolution() -> None:
    backbone: Any = encoder("resnet18", in_chans=3, stem="cifar").backbone
    assert backbone.forward_features(torch.rand(1, 3, 32, 32)).shape[-1] == 4
    assert backbone.conv1.weight.shape == (64, 3, 3, 3)


def test_a_small_vit_has_about_64_patches() -> None:
    backbone: Any = encoder("vit_tiny_patch16_224", in_chans=1, image_size=32, depth=1).backbone
    assert backbone.patch_embed.num_patches == 64


def test_backbone_serves_as_a_vector_encoder() -> None:
    network = image_encoder("small_cnn", 3, 16, 5, [8], width=8)
    assert network(torch.rand(2, 3, 16, 16)).shape == (2, 5)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no encoder 'resnet81'; nearest: .*resnet18"):
        encoder("resnet81")


@pytest.mark.parametrize(
    ("name", "stem", "said"),
    [
        ("resnet18", "imagenet", "none of: cifar"),
        ("vit_tiny_patch16_224", "cifar", "for ResNets"),
        ("small_cnn", "cifar", "has no stem"),
    ],
)
def test_stems_that_do_not_fit_are_refused(name: str, stem: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encoder(name, stem=stem)
