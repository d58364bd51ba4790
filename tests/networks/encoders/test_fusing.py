"""Folding batch norm into convolutions: the same function, without the norms."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genlab import networks
from genlab.networks import encoder, fuse_conv_bn


def worn(name: str, **options: Any) -> networks.Encoder:
    """An encoder whose batch norms have statistics, scales and shifts as after training."""
    network = encoder(name, 3, 32, **options)
    for m in network.modules():
        if isinstance(m, nn.BatchNorm2d) and m.running_mean is not None:
            m.running_mean.normal_(std=0.1)
            nn.init.uniform_(m.running_var, 0.5, 2.0)  # type: ignore[arg-type]
            nn.init.uniform_(m.weight, 0.5, 1.0)
            nn.init.normal_(m.bias, std=0.1)
    return network


def norms(module: nn.Module) -> int:
    return sum(isinstance(m, nn.BatchNorm2d) for m in module.modules())


@pytest.mark.parametrize(
    ("name", "options", "left"),
    [
        ("resnet18", {"stem": "cifar"}, 0),
        ("efficientnet_b0", {}, 0),
        ("efficientnet_lite0", {}, 0),
        ("tf_efficientnet_lite0", {}, 0),  # its convolutions pad as TensorFlow's do
        ("regnetx_002", {}, 0),
        ("mobilenetv3_small_050", {}, 0),
        ("vgg11_bn", {"mlp_ratio": 0.02}, 0),
        ("nin", {}, 0),
        ("resnet8_cifar", {}, 0),
        ("wrn_10_1", {}, 4),  # pre-activated: three follow a sum, and so does the last
        ("resnetv2_18", {}, 9),
        ("densenet121", {"growth_rate": 8, "block_config": (2, 2, 2, 2)}, 12),
    ],
)
def test_the_function_stays_and_the_norms_go(name: str, options: dict[str, Any], left: int) -> None:
    network, image = worn(name, **options), torch.rand(4, 3, 32, 32)
    before = copy.deepcopy(network.state_dict())
    fused = fuse_conv_bn(network)
    assert network.training
    assert not fused.training
    torch.testing.assert_close(network.state_dict(), before, rtol=0, atol=0)
    with torch.no_grad():
        expected = network.eval()(image)
        torch.testing.assert_close(fused(image), expected, rtol=1e-5, atol=1e-5)
    assert norms(fused) == left < norms(network)


@pytest.mark.parametrize("name", ["convnext_atto", "lenet", "mixer_s32_224"])
def test_nothing_to_fold_is_an_equal_copy(name: str) -> None:
    network, image = encoder(name, 3, 32).eval(), torch.rand(2, 3, 32, 32)
    assert torch.equal(fuse_conv_bn(network)(image), network(image))


def test_a_timm_norm_leaves_its_activation_and_one_module_less() -> None:
    network = worn("mobilenetv3_small_050")
    fused = fuse_conv_bn(network)
    assert len(list(fused.modules())) < len(list(network.modules()))
    assert isinstance(fused.get_submodule("backbone.bn1"), nn.Hardswish)


class Reused(nn.Module):
    """Its first convolution's output goes elsewhere too, its second one runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.conv2, self.bn2 = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)
        self.image_shape = (3, 8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(x)
        y = y + self.bn1(y)
        return self.bn2(self.conv2(self.bn2(self.conv2(y)))).mean((2, 3))


def test_a_convolution_that_serves_others_too_is_left_alone() -> None:
    network, image = Reused(), torch.rand(2, 3, 8, 8)
    for _ in range(3):
        network(image)
    fused = fuse_conv_bn(network)
    torch.testing.assert_close(fused(image), network.eval()(image))
    assert norms(fused) == 2


def test_what_holds_no_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear contains no network"):
        fuse_conv_bn(nn.Linear(2, 2))
