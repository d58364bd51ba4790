"""Shapes, times and classes of networks that see a noisy image."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from genlab.networks.denoisers.conditions import Condition, time_features
from genlab.networks.denoisers.dit import Block
from genlab.networks.denoisers.factory import denoiser
from genlab.networks.denoisers.squash_mlp import SquashLinear
from genlab.networks.denoisers.unet import Attention


def awake(network: nn.Module) -> Any:
    """With noise on every parameter: those that start from zero hide what is before them."""
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return network


NETWORKS: list[tuple[str, dict[str, Any]]] = [
    ("unet", {"width": 8, "multipliers": [1, 2], "attention": 4}),
    ("unet", {"width": 8, "multipliers": [1, 2, 3], "attention": 2, "blocks": 2, "patch": 2}),
    ("dit", {"patch": 2, "width": 16, "depth": 2, "num_heads": 2}),
    ("mlp", {"hidden_dims": [16, 16], "condition_dim": 8}),
]


@pytest.mark.parametrize(("name", "settings"), NETWORKS)
@pytest.mark.parametrize("size", [8, 14])
@torch.no_grad()
def test_every_row_depends_on_its_own_image_time_and_class(
    name: str, settings: dict[str, Any], size: int
) -> None:
    torch.manual_seed(0)
    network = awake(denoiser(name, 3, size, 5, **settings)).double()
    x, t = torch.randn(2, 3, size, size).double(), torch.tensor([0.2, 0.7]).double()
    label = torch.tensor([1, 4])
    out = network(x, t, label)
    assert out.shape == x.shape
    for changed in (
        network(x + torch.tensor([0.0, 0.1]).view(2, 1, 1, 1), t, label),
        network(x, t + torch.tensor([0, 0.01]), label),
        network(x, t, torch.tensor([1, 3])),
        network(x, t, torch.tensor([1, -1])),
    ):
        torch.testing.assert_close(changed[0], out[0], rtol=0, atol=1e-12)
        assert float((changed[1] - out[1]).abs().max()) > 1e-4
    assert network(x, t).equal(network(x, t, torch.tensor([-1, -1])))
    assert network.features(x, t).shape[0] == 2


def test_a_fresh_unet_gives_zero_and_only_its_last_layers_learn() -> None:
    network: Any = denoiser("unet", 1, 8, width=8, multipliers=[1, 2])
    x, t = torch.randn(3, 1, 8, 8), torch.rand(3)
    out = network(x, t)
    assert float(out.detach().abs().max()) == 0
    (out - x).square().sum().backward()
    moved = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"out.weight", "out.bias"}


def test_a_fresh_dit_gives_zero_and_only_its_last_layer_learns() -> None:
    """AdaLN-zero, gotcha A11: a gradient's norm at the first step says nothing."""
    torch.manual_seed(0)
    network: Any = denoiser("dit", 1, 8, 3, patch=2, width=16, depth=2, num_heads=2)
    x, t, label = torch.randn(3, 1, 8, 8), torch.rand(3), torch.tensor([0, 2, -1])
    out = network(x, t, label)
    assert float(out.detach().abs().max()) == 0
    (out - x).square().sum().backward()
    moved = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert moved == {"out.weight", "out.bias"}
    torch.testing.assert_close(
        network._tokens(x, network.condition(t, label)),
        network.embed(patches(x)) + network.positions,
    )  # blocks are the identity


def patches(x: torch.Tensor) -> torch.Tensor:
    """Patches of 2 x 2 in raster order, a grey image's: (B, 1, H, W) -> (B, N, 4)."""
    rows = [
        x[:, 0, i : i + 2, j : j + 2].flatten(1) for i in range(0, 8, 2) for j in range(0, 8, 2)
    ]
    return torch.stack(rows, 1)


@torch.no_grad()
def test_tokens_of_a_dit_go_back_to_their_patches() -> None:
    """A last layer that hands on what the patch itself says, without attention."""
    torch.manual_seed(0)
    network: Any = denoiser("dit", 1, 8, patch=2, width=16, depth=1, num_heads=2)
    network.positions.zero_()
    network.out.weight.copy_(torch.randn(4, 16))
    x = torch.randn(2, 1, 8, 8)
    out = network(x, torch.rand(2))
    expected = network.norm(network.embed(patches(x))) @ network.out.weight.T
    torch.testing.assert_close(patches(out), expected)


@torch.no_grad()
def test_attention_of_a_dit_is_softmax_over_tokens() -> None:
    torch.manual_seed(0)
    block: Any = awake(Block(8, 2, 2.0)).double()
    x = torch.randn(2, 5, 8).double()
    q, k, v = block.qkv(x).chunk(3, 2)
    seen = torch.zeros_like(x)
    for head in (slice(0, 4), slice(4, 8)):
        weight = (q[..., head] @ k[..., head].transpose(1, 2) / 4**0.5).softmax(-1)
        seen[..., head] = weight @ v[..., head]
    torch.testing.assert_close(block._attention(x), block.out(seen))


def test_a_squash_layer_is_ffjords() -> None:
    torch.manual_seed(0)
    layer = SquashLinear(3, 2)
    x, t = torch.randn(4, 3), torch.rand(4, 1)
    expected = layer.linear(x) * torch.sigmoid(t @ layer.gate.weight.T + layer.gate.bias)
    torch.testing.assert_close(layer(x, t), expected + t @ layer.shift.weight.T)


@torch.no_grad()
def test_every_row_of_a_squash_network_depends_on_its_point_and_time() -> None:
    torch.manual_seed(0)
    network = denoiser("squash", 2, 1, hidden_dims=[8, 8]).double()
    x, t = torch.randn(2, 2, 1, 1).double(), torch.tensor([0.2, 0.7]).double()
    out = network(x, t)
    assert out.shape == x.shape
    shift = torch.tensor([0.0, 0.1]).double()
    for changed in (network(x + shift.view(2, 1, 1, 1), t), network(x, t + shift)):
        torch.testing.assert_close(changed[0], out[0], rtol=0, atol=1e-12)
        assert float((changed[1] - out[1]).abs().max()) > 1e-4
    assert network.features(x, t).shape == (2, 8)


def test_a_smaller_scale_makes_a_network_smooth_in_time() -> None:
    near, far = torch.tensor([0.5, 0.501]).double(), torch.tensor([0.1, 0.9]).double()
    for scale, changes in ((1000.0, True), (10.0, False)):
        first, second = time_features(near, 64, scale)
        assert (float((first - second).norm()) > 0.5) is changes
        first, second = time_features(far, 64, scale)
        assert float((first - second).norm()) > 1


def test_near_times_have_different_features() -> None:
    first, second, far = time_features(torch.tensor([0.5, 0.51, 0.9]).double(), 128)
    near = float(1 - torch.cosine_similarity(first, second, dim=0))
    assert near > 0.1  # times that are not scaled to a thousand steps: 3e-6
    assert float(torch.cosine_similarity(first, far, dim=0)) < 0.5
    with pytest.raises(ValueError, match="even width"):
        time_features(torch.zeros(1), 3)


def test_no_class_is_the_last_row_and_not_the_last_class() -> None:
    condition = Condition(8, 3)
    assert condition.label is not None
    assert condition.label.num_embeddings == 4
    t = torch.full((2,), 0.5)
    one, other = condition(t, torch.tensor([2, -1]))
    apart = one - other
    torch.testing.assert_close(apart, condition.label.weight[2] - condition.label.weight[3])


def test_attention_is_softmax_over_places() -> None:
    torch.manual_seed(0)
    layer = awake(Attention(64)).double()
    assert layer.heads == 2
    x = torch.randn(2, 64, 3, 3).double()
    q, k, v = layer.qkv(layer.norm(x)).chunk(3, 1)
    seen = torch.zeros_like(x)
    for head in (slice(0, 32), slice(32, 64)):
        rows = [part[:, head].flatten(2) for part in (q, k, v)]
        weight = (rows[0].transpose(1, 2) @ rows[1] / 32**0.5).softmax(-1)  # (B, places, places)
        seen[:, head] = (rows[2] @ weight.transpose(1, 2)).view(2, 32, 3, 3)
    torch.testing.assert_close(layer(x), x + layer.out(seen))


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("unett", {}, "unknown network 'unett'; choose from unet, dit, mlp, squash"),
        ("unet", {"widht": 8}, "widht"),
        ("unet", {"patch": 3}, "patch 3 does not divide a side of 8 pixels"),
        ("unet", {"width": 0}, "must be at least 1"),
        ("dit", {"patch": 3}, "patch 3 does not divide a side of 8 pixels"),
        ("dit", {"width": 30, "num_heads": 4}, "num_heads 4 divide width 30"),
        ("dit", {"depth": 0}, "must be at least 1"),
        ("squash", {"hidden_dims": []}, "hidden_dims must name at least one layer"),
        ("squash", {"activation": "relu"}, "activation 'relu' has a kink"),
    ],
)
def test_refusals(name: str, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        denoiser(name, 1, 8, **settings)
