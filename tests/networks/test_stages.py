"""Inner stages of any encoder are read without a change to it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab import networks
from genlab.networks.encoders.stages import stage_features, stage_maps


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


@pytest.mark.parametrize(
    ("name", "options", "most", "shapes"),
    [
        ("small_cnn", {"width": 4}, 4, [(4, 16, 16), (8, 8, 8)]),
        ("resnet10t", {}, 4, [(64, 8, 8), (64, 8, 8), (128, 4, 4), (256, 2, 2)]),
        ("resnet10t", {}, 2, [(64, 8, 8), (256, 2, 2)]),
        ("vit_tiny_patch16_224", {"embed_dim": 16, "depth": 3, "num_heads": 2, "patch_size": 4}, 2,
         [(65, 16), (65, 16)]),
    ],
)  # fmt: skip
def test_maps_at_several_depths_of_one_pass(
    name: str, options: dict[str, Any], most: int, shapes: list[tuple[int, ...]]
) -> None:
    encoder = networks.encoder(name, 3, 32, **options).eval()
    image, passes = torch.rand(2, 3, 32, 32, requires_grad=True), list[int]()

    def run(x: torch.Tensor) -> torch.Tensor:
        passes.append(1)
        return encoder(x)

    maps = stage_maps(encoder, run, image, most)
    assert [tuple(one.shape[1:]) for one in maps] == shapes
    assert len(passes) == 1
    for k, one in enumerate(maps[:1]):
        pooled = one.mean((2, 3)) if one.ndim == 4 else one.mean(1)
        torch.testing.assert_close(stage_features(encoder, k, encoder, image, pool=1), pooled)
    (slope,) = torch.autograd.grad(maps[-1].square().sum(), image)
    assert slope.abs().sum() > 0


def test_a_stage_that_is_not_there_is_named() -> None:
    encoder = networks.encoder("small_cnn", 1, 16, width=4)
    for stage in (-1, 2, 9):
        with pytest.raises(ValueError, match=f"stage {stage} of small_cnn: choose 0 to 1"):
            stage_features(encoder, stage, encoder, torch.rand(1, 1, 16, 16))
