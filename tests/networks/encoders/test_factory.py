"""Backbones by name: shapes on small images, the small-image stem, and refusals."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch

from genlab.networks import encoder, image_encoder
from genlab.networks.ema import EMA
from genlab.networks.encoders.stems import nearest_divisor


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
        ("resnet18", "imagenet", "choose from cifar"),
        ("vit_tiny_patch16_224", "cifar", "for ResNets"),
        ("small_cnn", "cifar", "has no stem"),
    ],
)
def test_stems_that_do_not_fit_are_refused(name: str, stem: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encoder(name, stem=stem)


@pytest.mark.parametrize(
    ("name", "size", "options", "patches"),
    [
        ("vit_tiny_patch16_224", 28, {"depth": 1}, 7),
        ("vit_tiny_patch16_224", 32, {"depth": 1}, 8),
        ("vit_tiny_patch16_224", 64, {"depth": 1}, 8),
        ("vit_tiny_patch16_224", 96, {"depth": 1}, 6),  # as the name says
        ("vit_tiny_patch16_224", 32, {"depth": 1, "patch_size": 8}, 4),  # as told
        ("mixer_s32_224", 32, {}, 8),
        ("mixer_s32_224", 32, {"patch_size": 8}, 4),
        ("convmixer_16_2", 32, {}, 16),
        ("convmixer_768_32", 32, {}, 8),
        ("swin_tiny_patch4_window7_224", 32, {"depths": (1, 1), "num_heads": (1, 2)}, 8),
    ],
)
def test_patches_fit_the_image(name: str, size: int, options: dict[str, Any], patches: int) -> None:
    network = encoder(name, 3, size, **options)
    assert network.features(torch.rand(1, 3, size, size)).shape[-1] == patches


@pytest.mark.parametrize(
    ("size", "wanted", "patch"), [(28, 3.5, 4), (32, 4, 4), (8, 1, 2), (36, 4.5, 4), (31, 3.9, 4)]
)
def test_a_patch_divides_the_image_where_one_can(size: int, wanted: float, patch: int) -> None:
    assert nearest_divisor(size, wanted) == patch


def test_a_size_that_a_network_cannot_take_is_refused_with_the_size_it_is_for() -> None:
    said = r"efficientformer_l1 cannot take images of 3 x 32 x 32 \(it is for 224 px\): .+"
    with pytest.raises(ValueError, match=said):
        encoder("efficientformer_l1", 3, 32)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("resnet10t", {"patch_size": 4}, "resnet10t takes no argument patch_size"),
        ("lenet", {"width": 4}, "lenet takes no argument width"),
        ("vit_tiny_patch16_224", {"deep": 4}, "takes no argument deep"),
        ("vgg11", {"grad_checkpointing": True, "mlp_ratio": 0.02}, "vgg11 has no grad_checkpoint"),
        ("lenet", {"grad_checkpointing": True}, "lenet has no grad_checkpointing"),
        ("lenet", {"normalize": {"mean": [0.5, 0.5], "std": 1.0}}, "2 numbers as mean, 3 channels"),
        ("lenet", {"normalize": {"mean": 0.5, "std": 0.0}}, "std must be positive"),
    ],
)
def test_wrong_arguments_are_refused_in_a_line(
    name: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        encoder(name, 3, 32, **options)


@pytest.mark.parametrize("name", ["resnet10t", "wrn_10_1", "convnext_atto", "mixer_s32_224"])
def test_pooled_feature_map_is_the_feature(name: str) -> None:
    network, image = encoder(name, 3, 32).eval(), torch.rand(2, 3, 32, 32)
    pooled = network.features(image).mean((2, 3))
    if name == "convnext_atto":  # whose last norm follows the pooling
        backbone: Any = network.backbone
        pooled = backbone.head.norm(pooled[..., None, None]).flatten(1)
    torch.testing.assert_close(pooled, network(image), atol=1e-5, rtol=1e-5)


def test_tokens_are_at_their_places() -> None:
    network = encoder("vit_tiny_patch16_224", 1, 32, depth=0, patch_size=4).eval()
    image = torch.zeros(1, 1, 32, 32)  # without blocks a token sees its patch alone
    other = image.clone()
    other[0, 0, 4:8, 12:16] = 1  # second row, fourth column
    moved = (network.features(other) != network.features(image)).any(1)[0]
    assert moved.nonzero().tolist() == [[1, 3]]


def test_images_are_normalised_and_the_numbers_are_saved() -> None:
    plain = encoder("resnet10t", 3, 32).eval()
    numbers = {"mean": [0.1, 0.2, 0.3], "std": [0.5, 0.6, 0.7]}
    network = encoder("resnet10t", 3, 32, normalize=numbers).eval()
    network.backbone.load_state_dict(plain.backbone.state_dict())
    image = torch.rand(2, 3, 32, 32)
    mean, std = (torch.tensor(n)[:, None, None] for n in numbers.values())
    assert torch.equal(network(image), plain((image - mean) / std))
    assert torch.equal(network.features(image), plain.features((image - mean) / std))
    plain.load_state_dict(network.state_dict())
    assert torch.equal(network(image), plain(image))


def test_weights_from_before_there_was_normalisation_see_the_image_itself() -> None:
    network = encoder("lenet", 1, 28, normalize={"mean": 0.5, "std": 0.1})
    old = {k: v for k, v in network.state_dict().items() if not k.startswith("normalize")}
    network.load_state_dict(old)
    image = torch.rand(1, 1, 28, 28)
    assert torch.equal(network(image), network.backbone(image))


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "wrn_10_1", "resnet8_cifar"])
def test_gradient_checkpointing_keeps_less_and_changes_no_gradient(name: str) -> None:
    plain, thrifty = encoder(name, 3, 32), encoder(name, 3, 32, grad_checkpointing=True)
    thrifty.load_state_dict(plain.state_dict())
    image, kept = torch.rand(2, 3, 32, 32), []
    for network in (plain, thrifty):
        bytes_kept = 0

        def pack(x: torch.Tensor) -> torch.Tensor:
            nonlocal bytes_kept
            bytes_kept += x.nbytes
            return x

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            loss = network(image).square().sum()
        kept.append(bytes_kept)
        loss.backward()
    assert kept[1] < 0.7 * kept[0]
    for p, q in zip(plain.parameters(), thrifty.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad)


def test_channels_last_holds_weights_and_images() -> None:
    network = encoder("resnet10t", 3, 32, channels_last=True)
    seen = []
    first: Any = network.backbone.get_submodule("conv1.0")
    first.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    network(torch.rand(2, 3, 32, 32))
    for x in (seen[0], first.weight):
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert not x.is_contiguous()


def test_compiled_has_the_same_names_and_is_called_compiled() -> None:
    plain, compiled = encoder("lenet", 1, 28), encoder("lenet", 1, 28, compile=True)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    assert plain.backbone._compiled_call_impl is None
    assert compiled.backbone._compiled_call_impl is not None
    copied: Any = EMA(compiled, 0.9).average
    assert copied.backbone._compiled_call_impl is not None
    with pytest.raises(ValueError, match="did you mean reduce-overhead"):
        encoder("lenet", 1, 28, compile="reduce_overhead")


def test_drop_path_drops_in_training_alone() -> None:
    network = encoder("vit_tiny_patch16_224", 3, 32, depth=4, drop_path_rate=0.9)
    image = torch.rand(4, 3, 32, 32)
    assert not torch.equal(network(image), network(image))
    network.eval()
    assert torch.equal(network(image), network(image))


def test_architecture_is_what_timm_makes_the_backbone_from() -> None:
    for name in ("mobilenetv3_small_050", "vit_tiny_patch16_224"):
        network = encoder(name, 1, 32)
        again = timm.create_model(network.architecture["name"], **network.architecture["kwargs"])
        again.load_state_dict(network.backbone.state_dict())
    assert encoder("resnet10t", stem=None).architecture["stem"] is None
    assert encoder("resnet18", stem="cifar").architecture["stem"] == "cifar"
    assert encoder("mixer_s32_224").architecture["stem"] == "patch4"  # timm's names fix it


def test_same_seed_same_weights_and_a_look_at_shapes_draws_nothing() -> None:
    torch.manual_seed(1)
    direct = timm.create_model("resnet10t", num_classes=0)
    drawn = torch.rand(1)
    torch.manual_seed(1)
    network = encoder("resnet10t", 3, 32)
    assert torch.equal(torch.rand(1), drawn)
    torch.testing.assert_close(network.backbone.state_dict(), direct.state_dict(), rtol=0, atol=0)
    assert all(m.training for m in network.modules())
