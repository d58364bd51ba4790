"""Norms by name against their formulas, and the layers that have them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genlab.networks import encoder, mlp
from genlab.networks.layers import INITS, conv_layers, dense_layers
from genlab.networks.norms import CosineLinear, LocalResponse, norm_behind

IMAGE = (3, 12, 5, 5)


def behind(name: str, channels: int = 12, maps: bool = True) -> nn.Module:
    made = norm_behind(name, channels, maps)
    assert made is not None
    return made.double()


def standardised(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    var, mean = torch.var_mean(x, dims, correction=0, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt()


@pytest.mark.parametrize(
    ("name", "groups"),
    [("layer", 1), ("group_1", 1), ("group_4", 4), ("group_of_4", 3), ("instance", 12),
     ("group_of_1", 12), ("detached_layer", 1)],
)  # fmt: skip
def test_groups_of_channels_are_standardised(name: str, groups: int) -> None:
    """One group is layer norm over C, H and W, a group a channel instance norm."""
    x = torch.randn(IMAGE).double() * 3 + 1
    expected = standardised(x.unflatten(1, (groups, -1)), (2, 3, 4)).flatten(1, 2)
    torch.testing.assert_close(behind(name)(x), expected)
    if groups == 1:
        torch.testing.assert_close(behind(name)(x), F.layer_norm(x, IMAGE[1:]))


def test_batch_norm_and_vectors() -> None:
    x = torch.randn(IMAGE).double()
    torch.testing.assert_close(behind("batch")(x), standardised(x, (0, 2, 3)))
    v = torch.randn(7, 12).double()
    for name in ("layer", "detached_layer", "group_1"):
        torch.testing.assert_close(behind(name, maps=False)(v), standardised(v, (1,)))
    torch.testing.assert_close(behind("batch", maps=False)(v), standardised(v, (0,)))


def test_local_response_of_a_controlled_vector() -> None:
    """X / (2 + 0.5 * sum of the neighbours' squares) ^ 0.75: a large neighbour makes it small."""
    x = torch.tensor([[1.0, 2.0, 4.0, 0.0, 3.0]]).double()
    sums = torch.tensor([[1 + 4, 1 + 4 + 16, 4 + 16, 16 + 9, 9.0]]).double()
    norm = LocalResponse(size=3, alpha=0.5)
    torch.testing.assert_close(norm(x), x / (2 + 0.5 * sums) ** 0.75)
    maps = x[:, :, None, None].expand(1, 5, 2, 2)
    torch.testing.assert_close(norm(maps)[:, :, 1, 0], norm(x))


def test_detached_statistics_have_the_values_of_layer_norm_and_another_gradient() -> None:
    x = torch.randn(4, 12).double()
    given, grads = torch.randn(4, 12).double(), []
    for name in ("layer", "detached_layer"):
        leaf = x.clone().requires_grad_()
        (behind(name, maps=False)(leaf) * given).sum().backward()
        assert leaf.grad is not None
        grads.append(leaf.grad)
    scale = (x.var(1, correction=0, keepdim=True) + 1e-5).rsqrt()
    torch.testing.assert_close(grads[1], given * scale)
    normed = standardised(x, (1,))
    projected = given - given.mean(1, keepdim=True) - normed * (given * normed).mean(1, True)
    torch.testing.assert_close(grads[0], projected * scale)


def test_standardised_kernels_have_mean_0_and_variance_1() -> None:
    conv: Any = conv_layers(3, 5, 3, "group_of_5", standardised=True)[0]
    image = torch.zeros(1, 3, 3, 3)
    seen = []  # the kernel's numbers, one pixel at a time
    for i in range(27):
        image.view(-1).zero_()
        image.view(-1)[i] = 1
        seen.append(conv(image)[0, :, 1, 1])
    kernel = torch.stack(seen, 1)
    torch.testing.assert_close(kernel.mean(1), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(kernel.var(1, correction=0), torch.ones(5), atol=1e-3, rtol=0)


def test_cosine_layers_compute_the_angle() -> None:
    x = torch.randn(2, 3, 6, 6)
    conv: Any = conv_layers(3, 4, 3, "cosine")[0]
    patches = F.unfold(x, 3, padding=1)  # (2, 27, 36)
    kernels = conv.weight.flatten(1)[None, :, :, None]
    expected = F.cosine_similarity(patches[:, None], kernels, dim=2)
    torch.testing.assert_close(conv(x).flatten(2), expected)
    dense: Any = dense_layers(5, 4, "cosine")[0]
    v = torch.randn(3, 5)
    torch.testing.assert_close(
        dense(10 * v), F.cosine_similarity(v[:, None], dense.weight[None], dim=2)
    )
    scaled = CosineLinear(5, 4, scale=10)
    assert [n for n, _ in scaled.named_parameters()] == ["weight", "scale"]
    assert scaled(v).abs().max() > 1


def test_weight_norm_keeps_the_function_and_parts_length_and_direction() -> None:
    torch.manual_seed(0)
    plain = dense_layers(6, 4)[0]
    torch.manual_seed(0)
    parted = dense_layers(6, 4, "weight")[0]
    x = torch.randn(3, 6)
    torch.testing.assert_close(parted(x), plain(x))
    assert sorted(tuple(p.shape) for p in parted.parameters()) == [(4,), (4, 1), (4, 6)]


@pytest.mark.parametrize("init", INITS)
def test_inits_have_their_variance(init: str) -> None:
    layer: Any = dense_layers(400, 200, init=init)[0]
    expected = {"torch": 1 / 1200, "he": 2 / 400, "glorot": 2 / 600, "lecun": 1 / 400,
                "orthogonal": 1 / 400}  # fmt: skip
    assert layer.weight.var().item() == pytest.approx(expected[init], rel=0.05)
    if init == "orthogonal":
        torch.testing.assert_close(layer.weight @ layer.weight.T, torch.eye(200), atol=1e-4, rtol=0)
    assert (layer.bias.abs().max() > 0) == (init == "torch")


@pytest.mark.parametrize("name", ["small_cnn", "nin", "mlp", "lenet"])
@pytest.mark.parametrize("norm", ["batch", "layer", "group_2", "local_response", "weight", "cosine",
                                  "detached_layer", None])  # fmt: skip
def test_the_labs_networks_take_any_norm_activation_and_init(name: str, norm: str | None) -> None:
    network = encoder(name, 1, 12, norm=norm, act="sigmoid", init="orthogonal")
    network(torch.rand(2, 1, 12, 12)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_names_of_a_small_cnns_weights_are_as_they_were() -> None:
    names = [n for n, _ in encoder("small_cnn", 1, 8).backbone.named_parameters()]
    kernels, norms = ["0.weight", "4.weight", "8.weight"], [1, 5, 9]
    assert names == [
        n for k, b in zip(kernels, norms, strict=True) for n in (k, f"{b}.weight", f"{b}.bias")
    ]
    for depth, norm in ((1, "batch"), (2, "layer"), (3, None)):
        made = encoder("small_cnn", 1, 8, depth=depth, norm=norm)
        assert len(made.layer_groups) == 3 * depth
        assert all(len(g) == (3 if norm else 2) for g in made.layer_groups)
    assert len(encoder("mlp", 1, 8, depth=4).layer_groups) == 4


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"norm": "bacth"}, "unknown norm 'bacth'; choose from batch, layer"),
        ({"norm": "group"}, "unknown norm 'group'"),
        ({"norm": "group_5"}, "group_5 does not divide 32 channels"),
        ({"act": "relo"}, "unknown activation 'relo'"),
        ({"init": "kaiming"}, "unknown init 'kaiming'; choose from torch, he"),
        ({"norm": "cosine", "standardised": True}, "cannot be combined with norm cosine"),
        ({"depth": 0}, "depth must be at least 1"),
    ],
)
def test_wrong_choices_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encoder("small_cnn", 1, 8, **options)
    with pytest.raises(ValueError, match="requires feature maps"):
        mlp(4, 4, 2, norm="instance")
