"""A fresh first layer, position embedding or batch norm spoils all else: never without a word."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, cast

import pytest
import timm
import torch
from torch import Tensor, nn

from genlab.checkpoints import load_backbone
from genlab.errors import CheckpointError
from genlab.networks import encoder

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say which network it is of")

VIT: dict[str, Any] = {"embed_dim": 32, "depth": 6, "num_heads": 2}
NAME = "vit_tiny_patch16_224"


def vit(**options: Any) -> Any:
    return timm.create_model(NAME, **{"num_classes": 0, "img_size": 32, "patch_size": 8, **VIT}
                             | options)  # fmt: skip


def write(state: dict[str, Tensor], folder: Path) -> str:
    torch.save(state, folder / "weights.pth")
    return str(folder / "weights.pth")


@pytest.fixture
def resnet(tmp_path: Path) -> tuple[str, Any]:
    """A file of a ResNet-18 with a 7x7 stem, and the network."""
    model = timm.create_model("resnet18")
    return write(model.state_dict(), tmp_path), model


@pytest.mark.parametrize("in_chans", [3, 1])
def test_distilled_deit_in_a_plain_vit(in_chans: int, tmp_path: Path) -> None:
    """Its second token changes the features; without it, asked for, the rest is the file's."""
    size: dict[str, Any] = {"img_size": 32, "patch_size": 8, **VIT}
    source: Any = timm.create_model("deit_tiny_distilled_patch16_224", **size)
    nn.init.normal_(source.pos_embed)
    model = vit(in_chans=in_chans)
    file = write({"model": source.state_dict()}, tmp_path)
    with pytest.raises(CheckpointError, match=f"{NAME} has no place for 1: dist_token"):
        load_backbone(model, file)
    report = load_backbone(model, file, at_least=0.89)
    kept = [0, *range(2, source.pos_embed.shape[1])]
    assert torch.equal(model.pos_embed, source.pos_embed[:, kept])
    weight = source.patch_embed.proj.weight
    wanted = weight if in_chans == 3 else weight.sum(1, keepdim=True)
    assert torch.equal(model.patch_embed.proj.weight, wanted)
    assert report.share == 1
    assert "dist_token" in report.dropped
    assert not report.fresh
    larger = vit(img_size=64)
    assert load_backbone(larger, file, at_least=0.89).share == 1
    assert torch.equal(larger.pos_embed[:, 0], source.pos_embed[:, 0])


def test_channels_are_adapted_where_timms_conversion_stumbles(tmp_path: Path) -> None:
    source, model = vit(), vit(in_chans=1)
    state = source.state_dict()
    state["pos_embed"] = torch.randn(1, 15, 32)  # no square: the conversion fails
    with pytest.warns(UserWarning, match="pos_embed is fresh"):
        report = load_backbone(model, write(state, tmp_path), at_least=0.5)
    weight = source.patch_embed.proj.weight
    assert torch.equal(model.patch_embed.proj.weight, weight.sum(1, keepdim=True))
    assert report.adapted == ["patch_embed.proj.weight"]
    assert report.fresh == ["pos_embed"]


def without(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {n: v for n, v in state.items() if n != name}


@pytest.mark.parametrize("name", ["pos_embed", "patch_embed.proj.weight"])
def test_what_sees_the_image_must_be_there(name: str, tmp_path: Path) -> None:
    """More than nine tenths of the parameters fit, and still it is refused."""
    file = write(without(vit().state_dict(), name), tmp_path)
    model = vit()
    fresh = {n: v.clone() for n, v in model.state_dict().items()}
    with pytest.raises(
        CheckpointError,
        match=rf"{name} is not in the file: (.|\n)*options.at_least below 0.9",
    ):
        load_backbone(model, file)
    assert all(torch.equal(v, fresh[n]) for n, v in model.state_dict().items())
    with pytest.warns(UserWarning, match="is fresh: train it"):
        report = load_backbone(model, file, at_least=0.89)
    assert report.share > 0.9
    assert report.fresh == [name]


def test_positions_of_no_square_are_refused(tmp_path: Path) -> None:
    state = vit().state_dict() | {"pos_embed": torch.randn(1, 15, 32)}
    with pytest.raises(CheckpointError, match=r"pos_embed \(1, 15, 32\), here \(1, 17, 32\)"):
        load_backbone(vit(), write(state, tmp_path))


@pytest.mark.parametrize("bias", ["relative_position_bias_table"])
def test_relative_positions_must_be_there(bias: str, tmp_path: Path) -> None:
    name = "swin_tiny_patch4_window7_224"
    small: dict[str, Any] = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
    source = timm.create_model(name, **small)
    state = {n: v for n, v in source.state_dict().items() if bias not in n}
    with pytest.raises(CheckpointError, match=f"{bias} is not in the file"):
        load_backbone(timm.create_model(name, num_classes=0, **small), write(state, tmp_path))


def test_a_cifar_stem_is_fresh_and_that_is_said(resnet: tuple[str, Any]) -> None:
    file, source = resnet
    said = r"conv1 is fresh: train it \(a frozen probe would see noise\)"
    with pytest.warns(UserWarning, match=said):
        network = encoder("resnet18", stem="cifar", pretrained=file)
    report, backbone = network.report, cast(Any, network.backbone)
    assert report is not None
    assert report.mismatched == {"conv1.weight": "(64, 3, 7, 7), here (64, 3, 3, 3)"}
    assert report.fresh == ["conv1.weight"]
    assert 0.99 < report.share < 1
    assert "99.9 % of" in str(report)
    assert "conv1 is fresh: train it" in str(report)
    assert torch.equal(backbone.layer4[1].conv2.weight, source.layer4[1].conv2.weight)


@pytest.mark.parametrize("stages", [1, "all"])
def test_a_fresh_stem_may_be_trained_but_not_frozen(stages: Any, resnet: tuple[str, Any]) -> None:
    with pytest.warns(UserWarning, match="conv1 is fresh"):
        network = encoder("resnet18", stem="cifar", pretrained=resnet[0])
    network.freeze(0)
    with pytest.raises(ValueError, match=r"conv1\.weight .* fresh: frozen it would give noise"):
        network.freeze(stages)
    with pytest.warns(UserWarning, match="conv1 is fresh"):
        network = encoder(
            "resnet18", stem="cifar", pretrained=resnet[0], pretrained_options={"at_least": 0.8}
        )
    network.freeze(stages)  # whoever lowers at_least means it


def test_a_cifar_stem_in_the_file_does_not_become_a_large_one(tmp_path: Path) -> None:
    """Nobody means that: the run's own stem is at hand."""
    state = encoder("resnet18", stem="cifar").backbone.state_dict()
    with pytest.raises(CheckpointError, match=r"conv1.weight \(64, 3, 3, 3\), here \(64, 3, 7, 7"):
        load_backbone(timm.create_model("resnet18", num_classes=0), write(state, tmp_path))


def test_ranks_above_zero_are_silent(
    resnet: tuple[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder("resnet18", stem="cifar", pretrained=resnet[0])


@pytest.mark.parametrize("part", ["running_mean", "running_var"])
def test_batch_norm_without_its_statistics_is_refused(part: str, tmp_path: Path) -> None:
    """All parameters fit, and the features would still be wrong."""
    source: Any = timm.create_model("resnet10t")
    state = {n: v for n, v in source.state_dict().items() if not n.endswith(part)}
    file, model = write(state, tmp_path), timm.create_model("resnet10t", num_classes=0)
    lost = rf"lacks batch norm's statistics \(14: conv1.1.{part}, ...\): (.|\n)*at_least below 0.9"
    with pytest.raises(CheckpointError, match=lost):
        load_backbone(model, file)
    report = load_backbone(model, file, at_least=0.8)
    assert report.share == 1
    assert f"bn1.{part}" in " ".join(report.missing)
