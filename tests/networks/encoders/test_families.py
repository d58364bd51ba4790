"""Every family of timm: built for the images, trained by them, saved and made again."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch

from genlab.networks import encoder

SHORT_SWIN = {"embed_dim": 24, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 3, 6)}
SHORT: dict[str, dict[str, Any]] = {  # thin where the constructor allows it, to be quick
    "resnet10t": {},
    "resnet18": {},
    "resnetv2_18": {"layers": (1, 1, 1, 1)},
    "seresnet18": {"layers": (1, 1, 1, 1)},
    "convnext_atto": {"depths": (1, 1, 1, 1)},
    "convnextv2_atto": {"depths": (1, 1, 1, 1)},
    "efficientnet_lite0": {},
    "efficientnet_b0": {},
    "tinynet_e": {},
    "mobilenetv2_035": {},
    "mobilenetv3_small_050": {},
    "mobilenetv4_conv_small_035": {},
    "regnetx_002": {},
    "regnety_002": {},
    "vgg11": {"mlp_ratio": 0.02},
    "vgg11_bn": {"mlp_ratio": 0.02},
    "densenet121": {"growth_rate": 8, "block_config": (2, 2, 2, 2)},
    "vit_tiny_patch16_224": {"depth": 2},
    "vit_xsmall_patch16_clip_224": {"depth": 2},
    "deit_tiny_patch16_224": {"depth": 2},
    "deit3_small_patch16_224": {"depth": 1},
    "deit_tiny_distilled_patch16_224": {"depth": 2},
    "eva02_tiny_patch14_224": {"depth": 2},
    "swin_tiny_patch4_window7_224": SHORT_SWIN,
    "swinv2_tiny_window8_256": SHORT_SWIN,
    "mixer_s32_224": {},
    "gmlp_ti16_224": {},
    "xcit_nano_12_p16_224": {"depth": 2},
    "convmixer_64_2": {},
}
# as timm has them, but for the 100 M weights of VGG's dense layers
WHOLE = [*SHORT, "swinv2_cr_tiny_224", "resmlp_12_224", "convmixer_768_32", "beit_base_patch16_224"]


def check(name: str, size: int, channels: int, **options: Any) -> None:
    """Forward, backward, feature map, and a second network that the saved weights make equal."""
    network = encoder(name, channels, size, **options)
    image = torch.rand(2, channels, size, size)
    network(image).square().sum().backward()
    for key, p in network.named_parameters():
        assert p.grad is not None, f"{key} has no gradient"
        assert p.grad.isfinite().all(), f"the gradient of {key} is not finite"
    with torch.no_grad():
        feature, maps = network.eval()(image), network.features(image)
    assert feature.shape == (2, network.out_dim)
    assert maps.ndim == 4
    assert maps.shape[2] == maps.shape[3] == maps.shape[-1] > 0
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    file.seek(0)
    again = encoder(name, channels, size, **options).eval()
    with torch.no_grad():
        assert not torch.equal(again(image), feature)  # the seed has moved on
        again.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(again(image), feature)


@pytest.mark.parametrize(
    ("size", "channels"), [(32, 1), pytest.param(96, 3, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", SHORT)
def test_a_family_is_built_trained_saved_and_made_again(
    name: str, size: int, channels: int
) -> None:
    check(name, size, channels, **SHORT[name])


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [32, 96])
@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_network_is_built_trained_saved_and_made_again(
    name: str, size: int, channels: int
) -> None:
    check(name, size, channels, **(SHORT[name] if "vgg" in name else {}))


@pytest.mark.parametrize(
    ("name", "size", "channels", "options"),
    [
        ("small_cnn", 8, 1, {}),
        ("resnet18", 8, 2, {"stem": "cifar"}),
        ("resnetv2_18", 28, 1, {"stem": "cifar", "layers": (1, 1, 1, 1)}),
        ("vit_tiny_patch16_224", 8, 1, {"depth": 1}),
        ("vit_tiny_patch16_224", 28, 5, {"depth": 1}),
        ("vit_tiny_patch16_224", 224, 3, {"depth": 1}),
        ("mixer_s32_224", 28, 2, {}),
        ("mixer_s32_224", 64, 3, {"patch_size": 16}),
        ("swin_tiny_patch4_window7_224", 28, 3, SHORT_SWIN),
        ("swin_tiny_patch4_window7_224", 64, 3, SHORT_SWIN),
        ("convmixer_768_32", 28, 2, {}),
        ("efficientnet_lite0", 64, 5, {}),
        ("regnetx_002", 28, 2, {}),
        ("convnext_atto", 224, 3, {"depths": (1, 1, 1, 1)}),
        ("lenet", 28, 2, {}),
        ("nin", 28, 2, {}),
        ("wrn_10_1", 28, 2, {}),
        ("resnet8_cifar", 28, 2, {}),
    ],
)
def test_other_sizes_and_channels(
    name: str, size: int, channels: int, options: dict[str, Any]
) -> None:
    check(name, size, channels, **options)
