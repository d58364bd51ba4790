"""Which parameter decays and with what learning rate it moves."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import pytest
import torch
from torch import nn

from genlab import optim
from genlab.networks import encoder
from genlab.optim.groups import layer_scales, parameter_groups, undecayed
from tests.optim.tiny import Holder, OnTimm, Tiny


def of(optimizer: torch.optim.Optimizer, parameter: Any) -> dict[str, Any]:
    """The group that a parameter is in."""
    return next(g for g in optimizer.param_groups if any(p is parameter for p in g["params"]))


class Net(L.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Conv2d(1, 1, 1))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_every_trained_parameter_is_in_one_group_and_norms_and_biases_do_not_decay() -> None:
    module = Net()
    groups = parameter_groups(module, 1.0, 0.1)
    members = [id(p) for g in groups for p in g["params"]]
    assert len(members) == len(set(members))
    assert set(members) == {id(p) for p in module.parameters() if p.requires_grad}
    assert all(p.ndim > 1 for p in groups[0]["params"])
    assert [g["weight_decay"] for g in groups] == [0.1, 0.0]


@pytest.mark.parametrize(
    ("name", "options", "also"),
    [
        ("resnet18", {}, set()),
        ("vit_tiny_patch16_224", {"img_size": 64}, {"cls_token", "pos_embed"}),
        ("convnext_tiny", {}, set()),
        ("swin_tiny_patch4_window7_224", {}, {"relative_position_bias_table"}),
    ],
)
def test_norms_biases_and_position_embeddings_of_timm_do_not_decay(
    name: str, options: dict[str, Any], also: set[str]
) -> None:
    module = OnTimm(name, **options)
    optimizer = optim.build(module, {"name": "adamw", "weight_decay": 0.1})
    spared = {n for n, p in module.named_parameters() if of(optimizer, p)["weight_decay"] == 0.0}
    norms = {
        f"{path}.{n}"
        for path, child in module.named_modules()
        if "Norm" in type(child).__name__
        for n, _ in child.named_parameters(recurse=False)
    }
    assert norms
    assert norms <= spared
    assert {n for n, _ in module.named_parameters() if n.endswith("bias")} <= spared
    assert {n for n, p in module.named_parameters() if p.ndim <= 1} <= spared
    kernels = {n for n, p in module.named_parameters() if p.ndim > 1}
    assert {n.rpartition(".")[2] for n in spared & kernels} == also
    by_words = {n for n, _ in module.named_parameters() if "bias" in n or "bn" in n}
    missed = {"resnet18": 3, "vit_tiny_patch16_224": 25, "convnext_tiny": 41}
    if name in missed:  # what a filter by words would leave among the decaying
        one_dimensional = {n for n, p in module.named_parameters() if p.ndim <= 1}
        assert len(one_dimensional - by_words) == missed[name]


def test_a_norm_of_any_shape_and_the_own_networks_norms_do_not_decay() -> None:
    module = nn.Sequential(nn.LayerNorm((2, 3, 3)), nn.Conv2d(2, 2, 3), nn.GroupNorm(1, 2))
    assert undecayed(module) == {"0.weight", "0.bias", "1.bias", "2.weight", "2.bias"}
    for name in ("small_cnn", "lenet", "nin", "wrn_28_2", "resnet20_cifar"):
        own = encoder(name)
        assert undecayed(own) == {n for n, p in own.named_parameters() if p.ndim == 1}


def test_parts_have_their_own_learning_rate_and_it_moves_them() -> None:
    settings = {"name": "torch.sgd", "lr": 0.1, "lr_scale": {"head": 10, "encoder": 0.5}}
    module = Tiny(settings)
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    optimizer = optim.build(module, settings)
    for p in module.parameters():
        p.grad = torch.ones_like(p)
    optimizer.step()
    for name, p in module.named_parameters():
        lr = 1.0 if name.startswith("head") else 0.05
        torch.testing.assert_close(before[name] - p, torch.full_like(p, lr))


def test_layers_of_a_vit_as_in_beit() -> None:
    module = OnTimm("vit_tiny_patch16_224", img_size=64)
    settings = {"name": "adamw", "lr": 1.0, "layer_decay": 0.75, "weight_decay": 0.05}
    optimizer = optim.build(module, settings)
    backbone: Any = module.encoder.backbone
    for parameter, power in [
        (backbone.patch_embed.proj.weight, 13),
        (backbone.pos_embed, 13),
        (backbone.blocks[0].attn.qkv.weight, 12),
        (backbone.blocks[0].norm1.weight, 12),
        (backbone.blocks[11].mlp.fc2.weight, 1),
        (backbone.norm.weight, 1),
        (module.head.weight, 0),
    ]:
        assert of(optimizer, parameter)["lr"] == pytest.approx(0.75**power)
    assert of(optimizer, backbone.blocks[0].norm1.weight)["weight_decay"] == 0.0
    assert of(optimizer, backbone.pos_embed)["weight_decay"] == 0.0
    assert of(optimizer, backbone.blocks[0].attn.qkv.weight)["weight_decay"] == 0.05
    assert optimizer.param_groups[0]["lr"] == 1.0  # what is logged is the recipe's rate


def test_layers_of_a_convnext_and_of_a_resnet() -> None:
    convnext: Any = OnTimm("convnext_tiny").encoder.backbone
    scales = layer_scales(convnext, 0.5)
    assert scales["stem.0.weight"] == 0.5**19
    assert scales["stages.3.blocks.2.conv_dw.weight"] == 0.5
    assert scales["head.norm.weight"] == 1.0  # moves with the head, as in the paper's code
    scales = layer_scales(OnTimm("resnet18").encoder.backbone, 0.5)
    assert scales["conv1.weight"] == 0.5**9  # stem and 8 blocks
    assert scales["layer4.1.conv2.weight"] == 0.5


def test_layers_of_a_network_without_a_matcher_are_its_kernels() -> None:
    scales = layer_scales(Tiny().encoder.backbone, 0.5)
    assert scales == {
        "0.weight": 0.25, "0.bias": 0.25, "1.weight": 0.25, "1.bias": 0.25,
        "4.weight": 0.5, "4.bias": 0.5,
    }  # fmt: skip


def test_layer_decay_and_parts_multiply_and_frozen_parameters_stay_out() -> None:
    module = OnTimm("resnet18")
    backbone: Any = module.encoder.backbone
    backbone.conv1.requires_grad_(False)
    settings = {"lr": 1.0, "layer_decay": 0.5, "lr_scale": {"encoder": 0.1, "head": 3}}
    optimizer = optim.build(module, settings | {"weight_decay": 0.1})
    assert of(optimizer, backbone.layer4[1].conv2.weight)["lr"] == pytest.approx(0.05)
    assert of(optimizer, backbone.layer1[0].conv1.weight)["lr"] == pytest.approx(0.1 / 2**8)
    assert of(optimizer, module.head.weight)["lr"] == 3.0
    grouped = [id(p) for g in optimizer.param_groups for p in g["params"]]
    assert id(backbone.conv1.weight) not in grouped
    assert len(grouped) == len(set(grouped)) == len(list(module.parameters())) - 1
    rates = {math.log2(g["lr"]) for g in optimizer.param_groups if g["weight_decay"]}
    assert len(rates) == 9  # 8 blocks and the head


def test_what_the_method_lacks_is_named() -> None:
    with pytest.raises(ValueError, match=r"no part haed; did you mean head\?"):
        optim.build(Tiny(), {"lr_scale": {"haed": 2}})
    with pytest.raises(ValueError, match="layer_decay requires a method built on"):
        optim.build(Net(), {"layer_decay": 0.5})
    optim.check({"lr_scale": {"haed": 2}})  # without the method there is nothing to compare with
    with pytest.raises(ValueError, match="haed"):
        optim.check({"lr_scale": {"haed": 2}}, Tiny())
    assert isinstance(Tiny().encoder, Holder)


def test_vectors_written_as_maps_do_not_decay() -> None:
    """ResMLP's norms are affine maps of shape (1, 1, C)."""
    module = OnTimm("resmlp_12_224")
    optimizer = optim.build(module, {"name": "adamw", "weight_decay": 0.1})
    affine = [p for n, p in module.named_parameters() if n.endswith((".alpha", ".beta"))]
    assert len(affine) == 50
    assert all(of(optimizer, p)["weight_decay"] == 0.0 for p in affine)
    kernels = [p for n, p in module.named_parameters() if n.endswith("fc1.weight")]
    assert all(of(optimizer, p)["weight_decay"] == 0.1 for p in kernels)


def test_what_decay_spares_has_a_rate_of_its_own() -> None:
    """Barlow Twins' recipe: 0.2 for weights, 0.0048 for biases and norms."""
    module = nn.Module()
    module.encoder = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    rates = {
        id(p): group["lr"]
        for group in parameter_groups(module, 0.2, 1e-6, {"encoder": 0.5}, spared_lr=0.024)
        for p in group["params"]
    }
    expected = [0.1, 0.0024, 0.0024, 0.0024]
    assert [rates[id(p)] for p in module.parameters()] == pytest.approx(expected)


def test_the_patch_embedding_has_a_rate_of_its_own_beside_its_layers() -> None:
    """DINOv2's recipe: layers by 0.9, and the patch embedding alone by 0.2 more."""
    module = OnTimm("vit_tiny_patch16_224", img_size=64)
    backbone: Any = module.encoder.backbone
    for decay, at_stem in ((0.9, 0.9**13), (None, 1.0)):
        settings = {"name": "adamw", "lr": 1.0, "layer_decay": decay, "patch_embed_lr": 0.2}
        optimizer = optim.build(module, settings)
        for parameter in backbone.patch_embed.parameters():
            assert of(optimizer, parameter)["lr"] == pytest.approx(0.2 * at_stem)
        for parameter in (backbone.pos_embed, backbone.cls_token):
            assert of(optimizer, parameter)["lr"] == pytest.approx(at_stem)
        assert of(optimizer, module.head.weight)["lr"] == 1.0
    with pytest.raises(ValueError, match="patch_embed_lr requires an encoder of patches"):
        optim.check({"patch_embed_lr": 0.2}, OnTimm("resnet18"))
