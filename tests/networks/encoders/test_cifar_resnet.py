"""The CIFAR ResNets: published sizes, the shortcut without parameters, stochastic depth."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.layers import DropPath
from torch import nn

from genlab.networks import encoder


@pytest.mark.parametrize(
    ("depth", "count"), [(20, 269_722), (32, 464_154), (56, 853_018), (110, 1_727_962)]
)
def test_has_the_papers_number_of_parameters(depth: int, count: int) -> None:
    network = nn.Sequential(encoder(f"resnet{depth}_cifar"), nn.Linear(64, 10))
    assert sum(p.numel() for p in network.parameters()) == count  # table 6: .27, .46, .85, 1.7 M


def test_a_shortcut_takes_every_second_pixel_and_pads_with_zeros() -> None:
    network: Any = encoder("resnet8_cifar").backbone
    block = network.stages[1][0].eval()
    nn.init.zeros_(block.bn2.weight)  # the branch is silent: the block is its shortcut
    x = torch.rand(2, 16, 8, 8)
    y = block(x)
    assert torch.equal(y[:, :16], x[:, :, ::2, ::2])
    assert not y[:, 16:].any()


def test_blocks_are_dropped_linearly_more_with_depth() -> None:
    network = encoder("resnet20_cifar", drop_path_rate=0.4)
    rates = [m.drop_prob for m in network.modules() if isinstance(m, DropPath)]
    assert rates == pytest.approx([0.05 * i for i in range(9)])
    image = torch.rand(2, 3, 32, 32)
    assert not torch.equal(network(image), network(image))


def test_convolutions_start_as_he_et_al_say() -> None:
    kernel = encoder("resnet56_cifar").backbone.get_parameter("stages.2.1.conv2.weight")
    assert kernel.std().item() == pytest.approx((2 / (9 * kernel.shape[1])) ** 0.5, rel=0.02)


def test_other_depths_are_refused() -> None:
    with pytest.raises(ValueError, match=r"8, 14, 20, 32, 56 .*, not 18"):
        encoder("resnet18_cifar")
