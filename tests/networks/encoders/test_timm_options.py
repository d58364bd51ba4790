"""Networks of timm with a size of their own, and arguments that reach its constructors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from genlab.networks import encoder


def kinds(network: nn.Module, kind: type[nn.Module]) -> int:
    return sum(isinstance(module, kind) for module in network.modules())


def test_inception_v3_takes_images_from_75_pixels_on() -> None:
    network = encoder("inception_v3", 3, 75).eval()
    with torch.no_grad():
        assert network(torch.rand(2, 3, 75, 75)).shape == (2, network.out_dim) == (2, 2048)
    with pytest.raises(ValueError, match=r"cannot take images of 3 x 32 x 32 \(it is for 299 px\)"):
        encoder("inception_v3", 3, 32)


@pytest.mark.parametrize(("channels", "size"), [(3, 32), (1, 28)])
def test_mobilenetv1_takes_small_images_of_any_channels(channels: int, size: int) -> None:
    network = encoder("mobilenetv1_100", channels, size).eval()
    with torch.no_grad():
        found = network(torch.rand(2, channels, size, size))
    assert found.shape == (2, network.out_dim)
    assert found.std() > 0


def test_a_norm_layer_replaces_batch_norm() -> None:
    network = encoder("resnet10t", 3, 32, norm_layer="layernorm2d")
    assert kinds(network, nn.BatchNorm2d) == 0
    assert kinds(encoder("resnet10t", 3, 32), nn.BatchNorm2d) > 0


def test_an_activation_replaces_relu() -> None:
    network = encoder("resnet10t", 3, 32, act_layer="silu")
    assert (kinds(network, nn.SiLU) > 0, kinds(network, nn.ReLU)) == (True, 0)


@pytest.mark.parametrize(("stride", "side"), [(8, 8), (16, 4), (32, 2)])
def test_the_output_stride_fixes_the_resolution(stride: int, side: int) -> None:
    backbone: Any = encoder("mobilenetv1_100", 3, 64, output_stride=stride).eval().backbone
    with torch.no_grad():
        assert backbone.forward_features(torch.rand(1, 3, 64, 64)).shape[2:] == (side, side)


@pytest.mark.parametrize(
    "wrong", [{"norm_layer": "batchnormm"}, {"act_layer": "silo"}, {"output_stride": 7}]
)
def test_what_timm_does_not_know_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="resnet10t") as error:
        encoder("resnet10t", 3, 32, **wrong)
    for key, value in wrong.items():
        assert key == "output_stride" or f"unknown {key} {value!r}" in str(error.value)
