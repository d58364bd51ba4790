"""Network in Network: its 1x1 layers see one pixel, and the head commutes with the mean."""

from __future__ import annotations

import torch
from torch import nn

from genlab.networks import encoder
from genlab.networks.encoders.nin import mlpconv


def test_has_the_papers_number_of_parameters_without_norms() -> None:
    whole = nn.Sequential(encoder("nin", 3, 32, norm=False), nn.Linear(192, 10))
    convolutions = [(3 * 25, 192), (192, 160), (160, 96), (96 * 25, 192), *[(192, 192)] * 2]
    convolutions += [(192 * 9, 192), (192, 192), (192, 192), (192, 10)]
    assert sum(p.numel() for p in whole.parameters()) == sum((i + 1) * o for i, o in convolutions)


def test_later_layers_of_a_block_see_one_pixel() -> None:
    block, x = mlpconv(2, (8, 8, 4), 3, norm=False), torch.randn(1, 2, 9, 9)
    moved = x.clone()
    moved[..., 4, 4] += 1
    touched = (block(moved) != block(x)).any(1)[0]
    assert touched[3:6, 3:6].any()
    touched[3:6, 3:6] = False
    assert not touched.any()


def test_averaging_before_the_head_equals_a_map_per_class_averaged() -> None:
    network, head, image = (
        encoder("nin", 1, 28).eval(),
        nn.Linear(192, 10),
        torch.rand(2, 1, 28, 28),
    )
    maps = nn.functional.conv2d(network.features(image), head.weight[..., None, None], head.bias)
    torch.testing.assert_close(maps.mean((2, 3)), head(network(image)))


def test_dropout_can_be_left_out() -> None:
    image = torch.rand(2, 1, 28, 28)
    dropping, plain = encoder("nin", 1, 28), encoder("nin", 1, 28, drop_rate=0.0)
    assert torch.equal(plain(image), plain(image))
    assert not torch.equal(dropping(image), dropping(image))
