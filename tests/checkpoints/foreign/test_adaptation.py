"""Weights of one geometry in a model of another; real weights where they are to be had."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
from timm.models.convmixer import ConvMixer
from timm.models.resnetv2 import ResNetV2

from genlab.checkpoints import load_backbone
from genlab.errors import CheckpointError
from tests.checkpoints.foreign import layouts_made as made

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say which network it is of")

VIT: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 1, "num_heads": 2}


def saved(name: str, folder: Path, **options: Any) -> tuple[str, Any]:
    """A file of a new network's weights, and the network."""
    model = timm.create_model(name, **options)
    torch.save(model.state_dict(), folder / "weights.pth")
    return str(folder / "weights.pth"), model


@pytest.mark.parametrize("old", [3, 1, 4])
@pytest.mark.parametrize("new", [1, 3, 5])
def test_channels(old: int, new: int, tmp_path: Path) -> None:
    """One channel is the sum of the file's; grey pictures give every network the same answer."""
    file, source = saved("resnet10t", tmp_path, in_chans=old)
    model: Any = timm.create_model("resnet10t", in_chans=new, num_classes=0)
    report = load_backbone(model, file)
    weight, original = model.conv1[0].weight, source.conv1[0].weight
    assert weight.shape[1] == new
    if new == 1:
        assert torch.equal(weight, original.sum(1, keepdim=True))
    if old % new == 0 or new % old == 0:
        torch.testing.assert_close(weight.sum(1), original.sum(1))
    assert report.adapted == ([] if old == new else ["conv1.0.weight"])
    assert report.share == 1


def nf_resnet(**options: Any) -> Any:
    return timm.create_model("nf_resnet26", depths=(1, 1), channels=(16, 32), **options)


def big_transfer(**options: Any) -> Any:
    """As resnetv2_50x1_bit: standardised kernels and group norm."""
    return ResNetV2([1, 1], (128, 256), stem_type="fixed", **options)


@pytest.mark.parametrize("made_anew", [nf_resnet, big_transfer])
@pytest.mark.parametrize(("old", "new"), [(3, 1), (3, 5), (4, 3)])
def test_no_other_channels_where_the_first_kernel_is_standardised(
    made_anew: Callable[..., Any], old: int, new: int, tmp_path: Path
) -> None:
    source, file = made_anew(in_chans=old), tmp_path / "weights.pth"
    torch.save(source.state_dict(), file)
    model = made_anew(in_chans=new, num_classes=0).eval()
    fresh = model.stem.conv.weight.clone()
    with pytest.raises(CheckpointError) as error:
        load_backbone(model, file)
    what, why, way = str(error.value).splitlines()
    assert f"{old} channel" in what
    assert f"not of {new}: " in what
    assert what.endswith("standardises stem.conv.weight,")
    assert "features" in why
    assert f"data.channels={old}" in way
    assert torch.equal(model.stem.conv.weight, fresh)
    image = torch.rand(2, 1, 64, 64)
    with torch.no_grad():  # whoever lets it pass gets other features: the check is of use
        assert load_backbone(model, file, at_least=0.8).share == 1
        source.reset_classifier(0)
        expected = source.eval()(image.expand(-1, old, -1, -1))
        found = model(image.expand(-1, new, -1, -1))
    assert (found - expected).abs().max() > 0.01 * expected.abs().max()


def test_image_and_patch_size_of_a_vit(tmp_path: Path) -> None:
    """A smooth field of position embeddings stays that field; a constant patch its sum."""
    source: Any = timm.create_model("vit_tiny_patch16_224", **VIT)
    rows = torch.linspace(-1, 1, 4).repeat_interleave(4)
    with torch.no_grad():
        source.pos_embed[0, 1:] = rows[:, None]
        source.patch_embed.proj.weight.fill_(0.5)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model: Any = timm.create_model(
        "vit_tiny_patch16_224", **VIT | {"img_size": 48, "patch_size": 4}, num_classes=0, in_chans=1
    )
    report = load_backbone(model, str(tmp_path / "weights.pth"))
    field = model.pos_embed[0, 1:].reshape(12, 12, -1)
    assert torch.allclose(field[:, :1], field, atol=1e-5)  # no change along a row
    assert (field.diff(dim=0) > 0).all()
    assert torch.equal(model.pos_embed[0, 0], source.pos_embed[0, 0])
    assert set(report.adapted) == {"pos_embed", "patch_embed.proj.weight"}
    assert report.share == 1


def test_swin_at_another_size(tmp_path: Path) -> None:
    """A bias that grows with the row distance still does so, and only with that."""
    small: dict[str, Any] = {"embed_dim": 16, "depths": (1, 1, 1, 1), "num_heads": (1, 1, 2, 2)}
    name, table = "swin_tiny_patch4_window7_224", "relative_position_bias_table"
    _, source = saved(name, tmp_path, img_size=224, **small)
    with torch.no_grad():
        rows = torch.linspace(-1, 1, 13).repeat_interleave(13)[:, None]
        source.layers[0].blocks[0].attn.relative_position_bias_table.copy_(rows)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model: Any = timm.create_model(name, img_size=96, window_size=3, num_classes=0, **small)
    report = load_backbone(model, tmp_path / "weights.pth")
    bias = getattr(model.layers[0].blocks[0].attn, table).reshape(5, 5)
    assert torch.allclose(bias[:, :1].expand(5, 5), bias, atol=1e-5)
    assert (bias.diff(dim=0) > 0).all()
    assert report.share == 1
    assert f"layers.0.blocks.0.attn.{table}" in report.adapted
    assert model(torch.rand(1, 3, 96, 96)).shape == (1, 128)


def test_patch_size_of_a_network_without_conversion(tmp_path: Path) -> None:
    """A convolution over larger patches gives a constant picture the old answer."""
    source: Any = ConvMixer(16, 1, patch_size=4)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model: Any = ConvMixer(16, 1, patch_size=8, num_classes=0, in_chans=1)
    report = load_backbone(model, tmp_path / "weights.pth")
    assert report.adapted == ["stem.0.weight"]
    assert report.share == 1
    new, old = model.stem[0].weight, source.stem[0].weight
    torch.testing.assert_close(new.sum((1, 2, 3)), old.sum((1, 2, 3)), rtol=0, atol=1e-4)


def test_names_of_the_original_repository(tmp_path: Path) -> None:
    """Facebook's ConvNeXt under a DDP prefix: timm's own conversion renames it."""
    source: Any = timm.create_model("convnext_atto", conv_mlp=False).eval()
    renamed = {made.original_convnext(n): v for n, v in source.state_dict().items()}
    torch.save({"model": {f"module.{n}": v for n, v in renamed.items()}}, tmp_path / "weights.pth")
    model = timm.create_model("convnext_atto", conv_mlp=False, num_classes=0).eval()
    assert load_backbone(model, str(tmp_path / "weights.pth")).share == 1
    image = torch.rand(1, 3, 64, 64)
    features = source.forward_head(source.forward_features(image), pre_logits=True)
    assert torch.equal(model(image), features)


def test_half_precision(tmp_path: Path) -> None:
    source: Any = timm.create_model("vit_tiny_patch16_224", **VIT)
    half = {name: value.half() for name, value in source.state_dict().items()}
    torch.save(half, tmp_path / "weights.pth")
    model: Any = timm.create_model("vit_tiny_patch16_224", **VIT, num_classes=0)
    assert load_backbone(model, str(tmp_path / "weights.pth")).share == 1
    assert model.norm.weight.dtype == torch.float32
    assert torch.equal(model.blocks[0].attn.qkv.weight, half["blocks.0.attn.qkv.weight"].float())


@pytest.fixture(scope="module")
def lite0() -> str:
    """Real ImageNet weights of tf_efficientnet_lite0."""
    folder = Path(os.environ.get("GENLAB_WEIGHTS", "-"))
    file = folder / "tf_efficientnet_lite0-imagenet1k.safetensors"
    if not file.is_file():
        pytest.skip("GENLAB_WEIGHTS does not name a folder with tf_efficientnet_lite0's weights")
    return str(file)


@pytest.mark.parametrize(
    ("name", "classes"),
    [("chelsea", (281, 282, 285)), ("coffee", (967,)), ("rocket", (657,))],
)  # tabby, tiger cat, Egyptian cat; espresso; missile
def test_real_weights_know_what_is_on_a_photograph(
    name: str, classes: tuple[int, ...], lite0: str
) -> None:
    """Under timm's own transform of the picture, but for the normalisation, which we report."""
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the pictures")
    model = timm.create_model("tf_efficientnet_lite0").eval()
    report = load_backbone(model, lite0)
    assert report.share == 1
    assert (report.mean, report.std) == ((0.5,) * 3, (0.5,) * 3)
    config = resolve_model_data_config(model) | {"mean": report.mean, "std": report.std}
    transform: Any = create_transform(**config, is_training=False)
    with torch.no_grad():
        found = model(transform(Image.fromarray(getattr(data, name)()))[None]).argmax().item()
    assert found in classes


def test_real_weights_for_grey_pictures_of_96(lite0: str) -> None:
    model = timm.create_model("tf_efficientnet_lite0", in_chans=1, num_classes=0)
    report = load_backbone(model, lite0)
    assert report.share > 0.9
    assert report.adapted == ["conv_stem.weight"]
    assert "classifier.weight" in report.dropped
    assert model(torch.rand(1, 1, 96, 96)).shape == (1, 1280)


def test_real_weights_of_another_network(lite0: str) -> None:
    with pytest.raises(CheckpointError, match="mobilenetv3"):
        load_backbone(timm.create_model("mobilenetv3_small_050", num_classes=0), lite0)
