"""Backbones of anybody's: dotted classes, models registered with timm, the lab's own names."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models import register_model
from torch import Tensor, nn

from genlab import recipes
from genlab.networks import encoder
from genlab.networks.encoders.factory import Encoder
from genlab.networks.encoders.naming import FAMILIES, named_class
from genlab.optim.groups import layer_scales

HERE = __name__


class Plain(nn.Module):
    """No more than a backbone must have."""

    def __init__(self, in_chans: int = 3, width: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_chans, width, 3)
        self.last = nn.Linear(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 2 width)."""
        return self.last(self.conv(x).amax((2, 3)))


class Sized(nn.Module):
    """A backbone that asks for the size of the images, and has a feature map."""

    def __init__(self, in_chans: int, image_size: int) -> None:
        super().__init__()
        self.pixels = nn.Linear(in_chans * image_size**2, 6)
        self.image_size = image_size

    def forward_features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / 2, W / 2)."""
        return x[:, :, ::2, ::2]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 6)."""
        return self.pixels(x.flatten(1))


class Maps(Plain):
    """Not one vector an image."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width, H - 2, W - 2)."""
        return self.conv(x)


class Colourless(nn.Module):
    """Takes no channels."""


def plain_function(in_chans: int) -> nn.Module:
    return Plain(in_chans)


@register_model
def genlab_test_plain(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """As a user registers a model with timm."""
    kwargs.pop("num_classes", None)
    kwargs.pop("pretrained_cfg", None)
    kwargs.pop("pretrained_cfg_overlay", None)
    kwargs.pop("cache_dir", None)
    return Plain(**kwargs)


def test_a_class_by_its_dotted_name_gets_the_channels_and_its_own_arguments() -> None:
    network = encoder(f"{HERE}.Plain", 1, 8, width=5)
    assert (network.out_dim, network.in_chans) == (10, 1)
    assert network(torch.rand(2, 1, 8, 8)).shape == (2, 10)
    assert network.architecture["name"] == f"{HERE}.Plain"


def test_a_class_that_asks_gets_the_size_of_the_images() -> None:
    network: Any = encoder(f"{HERE}.Sized", 1, 8)
    assert network.backbone.image_size == 8
    assert network.features(torch.rand(2, 1, 8, 8)).shape == (2, 1, 4, 4)


def test_what_a_class_lacks_has_a_default_or_is_refused_in_words() -> None:
    network: Any = encoder(f"{HERE}.Plain", 3, 8)
    assert layer_scales(network.backbone, 0.5)["conv.weight"] == 0.25
    assert layer_scales(network.backbone, 0.5)["last.weight"] == 0.5
    with pytest.raises(ValueError, match="Plain has no forward_features"):
        network.features(torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueError, match="Plain has no grad_checkpointing"):
        encoder(f"{HERE}.Plain", 3, 8, grad_checkpointing=True)
    network.freeze(1)  # the network is one stage
    assert not any(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Maps", "gives no feature vector per image"),
        ("Colourless", "takes no argument in_chans"),
        ("plain_function", "is not a"),
        ("Absent", "has no class Absent"),
    ],
)
def test_what_is_no_backbone_is_refused_in_words(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        encoder(f"{HERE}.{name}", 3, 8)


def test_a_model_registered_with_timm_is_made_by_timm() -> None:
    network = encoder("genlab_test_plain", 1, 8, width=3)
    assert named_class("genlab_test_plain") is None
    assert network.out_dim == 6
    assert isinstance(network.backbone, Plain)


@pytest.mark.parametrize(("example", "pattern", "kind"), FAMILIES)
def test_the_lab_s_own_names_make_their_classes(
    example: str, pattern: str, kind: type[nn.Module]
) -> None:
    assert re.fullmatch(pattern, example)
    network: Encoder = encoder(example, 1, 16)
    assert type(network.backbone) is kind
    assert not timm.is_model(example)


PLUGIN = """
from timm.models import register_model
from torch import nn


class TinyNet(nn.Sequential):
    def __init__(self, in_chans, num_classes=0):
        super().__init__(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * in_chans, 3))


@register_model
def {module}_net(pretrained=False, in_chans=3, num_classes=0, **kwargs):
    return TinyNet(in_chans)
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A declared package with a module of networks."""
    name = f"own_{abs(hash(request.node.name))}"
    (tmp_path / name / "networks").mkdir(parents=True)
    (tmp_path / name / "networks" / "tiny.py").write_text(PLUGIN.format(module=name))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("GENLAB_PLUGINS", name)
    return name


def test_a_plugin_s_class_is_reached_by_its_short_name(plugin: str) -> None:
    assert encoder("TinyNet", 1, 8).out_dim == 3


def test_a_plugin_s_model_is_reached_by_the_name_registered_with_timm(plugin: str) -> None:
    assert encoder(f"{plugin}_net", 1, 8).out_dim == 3
    with pytest.raises(ValueError, match=f"nearest: .*{plugin}_net"):
        encoder(f"{plugin}_nets", 1, 8)


def test_a_class_that_a_file_names_is_not_imported_unless_trusted(plugin: str) -> None:
    with recipes.inside():
        assert encoder("TinyNet", 1, 8).out_dim == 3  # a declared plugin's
        with pytest.raises(ValueError, match=rf"Plain is refused: .*\n.*--trust {HERE}.Plain"):
            encoder(f"{HERE}.Plain", 1, 8)
    with recipes.inside([HERE]):
        assert encoder(f"{HERE}.Plain", 1, 8).out_dim == 8
