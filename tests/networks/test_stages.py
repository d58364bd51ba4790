"""Inner stages of any encoder are read without a change to it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab import networks
from genlab.networks.encoders.stages import stage_features


def test_a_stage_is_what_enters_the_next_one() -> None:
    encoder = networks.encoder("small_cnn", 1, 16, width=4).eval()
    image = torch.rand(3, 1, 16, 16)
    layers = list(encoder.backbone.children())
    expected = image
    for layer in layers[:4]:  # convolution, norm, ReLU, pooling
        expected = layer(expected)
    pooled = torch.nn.functional.adaptive_avg_pool2d(expected, 2).flatten(1)
    torch.testing.assert_close(stage_features(encoder, 0, encoder, image), pooled)
    assert stage_features(encoder, 1, encoder, image, pool=1).shape == (3, 8)
    assert not encoder.backbone.get_submodule("4")._forward_pre_hooks


@pytest.mark.parametrize(
    ("name", "options", "shapes"),
    [
        ("resnet10t", {}, [(2, 64 * 4), (2, 64 * 4), (2, 128 * 4)]),
        ("resnet20_cifar", {}, [(2, 64), (2, 64), (2, 128)]),
        (
            "vit_tiny_patch16_224",
            {"embed_dim": 16, "depth": 2, "num_heads": 2, "patch_size": 4},
            [(2, 16), (2, 16)],
        ),
    ],
)
def test_networks_of_timm_and_of_genlab(
    name: str, options: dict[str, Any], shapes: list[tuple[int, int]]
) -> None:
    encoder = networks.encoder(name, 3, 32, **options).eval()
    image = torch.rand(2, 3, 32, 32)
    found = [tuple(stage_features(encoder, k, encoder, image).shape) for k in range(len(shapes))]
    assert found == shapes


def test_a_stage_that_is_not_there_is_named() -> None:
    encoder = networks.encoder("small_cnn", 1, 16, width=4)
    for stage in (-1, 2, 9):
        with pytest.raises(ValueError, match=f"stage {stage} of small_cnn: choose 0 to 1"):
            stage_features(encoder, stage, encoder, torch.rand(1, 1, 16, 16))
