"""`pretrained=`: weights come in, a report is shown, images get the weights' normalisation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from genlab.networks import encoder

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say which network it is of")

LITE0 = "tf_efficientnet_lite0"


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save(timm.create_model(LITE0).state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def test_weights_report_and_normalisation_arrive(
    weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source: Any = timm.create_model(LITE0, num_classes=0).eval()
    source.load_state_dict(torch.load(weights, weights_only=True), strict=False)
    network = encoder(LITE0, 3, 64, pretrained=str(weights)).eval()
    assert "pretrained weights from" in capsys.readouterr().err
    assert network.report is not None
    assert network.report.share == 1
    mean, std = (torch.tensor(source.pretrained_cfg[k])[:, None, None] for k in ("mean", "std"))
    image = torch.rand(2, 3, 64, 64)
    assert torch.equal(network(image), source((image - mean) / std))


def test_ranks_above_zero_are_silent(
    weights: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    encoder(LITE0, 3, 64, pretrained=str(weights))
    assert capsys.readouterr().err == ""


def test_grey_images_get_the_mean_of_the_colours(weights: Path) -> None:
    network = encoder(LITE0, 1, 64, pretrained=str(weights))
    assert network.normalize.mean.tolist() == pytest.approx([0.5])
    assert network.normalize.mean.shape == network.normalize.std.shape == (1,)


def test_normalize_and_options_are_obeyed(weights: Path) -> None:
    own = {"mean": 0.25, "std": 0.5}
    network = encoder(LITE0, 3, 64, pretrained=str(weights), normalize=own)
    assert network.normalize.mean.tolist() == [0.25] * 3
    with pytest.raises(ValueError, match="at_least"):
        encoder(LITE0, 3, 64, pretrained=str(weights), pretrained_options={"at_least": 2})


def test_unknown_normalisation_is_warned_of(tmp_path: Path) -> None:
    """A bare backbone, as DINO and VICReg publish it, tells nothing of its images."""
    state = timm.create_model(LITE0, num_classes=0).state_dict()
    torch.save(state, tmp_path / "bare.pth")
    with pytest.warns(UserWarning, match=r"bare.pth does not say .* encoder_kwargs.normalize"):
        encoder(LITE0, 3, 64, pretrained=str(tmp_path / "bare.pth"))
    encoder(LITE0, 3, 64, pretrained=str(tmp_path / "bare.pth"), normalize={"mean": 0, "std": 1})
    of_a_run = {f"encoder.backbone.{name}": value for name, value in state.items()}
    torch.save({"state_dict": of_a_run, "genlab": {}}, tmp_path / "run.ckpt")
    network = encoder(LITE0, 3, 64, pretrained=str(tmp_path / "run.ckpt"))
    assert torch.equal(network.normalize.std, torch.ones(3))


def test_fresh_weights_have_no_report_and_no_normalisation() -> None:
    network = encoder(LITE0, 3, 64)
    assert network.report is None
    assert torch.equal(network.normalize.mean, torch.zeros(3))
    assert torch.equal(network.normalize.std, torch.ones(3))


@pytest.mark.parametrize(
    "options", [{"act_layer": "gelu"}, {"output_stride": 8}, {"global_pool": "max"}]
)
def test_an_option_that_changes_features_and_no_shape_is_told(
    options: dict[str, Any], tmp_path: Path
) -> None:
    state = timm.create_model("resnet10t").state_dict()
    torch.save({"arch": "resnet10t", "state_dict": state}, tmp_path / "weights.pth")
    (key,) = options
    with pytest.warns(UserWarning, match=rf"encoder_kwargs\.{key} gives other features than"):
        encoder("resnet10t", 3, 64, pretrained=str(tmp_path / "weights.pth"), **options)


def test_an_option_that_changes_nothing_or_that_the_file_was_trained_with_is_not_told(
    tmp_path: Path,
) -> None:
    state = timm.create_model("resnet10t").state_dict()
    torch.save({"arch": "resnet10t", "state_dict": state}, tmp_path / "weights.pth")
    encoder("resnet10t", 3, 64, pretrained=str(tmp_path / "weights.pth"), global_pool="avg")
    state = {f"encoder.backbone.{name}": value for name, value in state.items() if "fc" not in name}
    told = {"encoder": "resnet10t", "encoder_kwargs": {"act_layer": "gelu"}}
    run = {"state_dict": state, "genlab": {}, "hyper_parameters": told}
    torch.save(run, tmp_path / "run.ckpt")
    encoder("resnet10t", 3, 64, pretrained=str(tmp_path / "run.ckpt"), act_layer="gelu")


@pytest.mark.parametrize(
    ("theirs", "here", "told"),
    [
        ({"act_layer": "gelu"}, {}, "act_layer=gelu"),  # left out here
        ({"stem": "cifar_pad2"}, {"stem": "cifar"}, "stem=cifar_pad2"),
        ({"stem": "cifar", "act_layer": "silu"}, {"stem": "cifar_pad2"}, "stem=.*, act_layer="),
        ({}, {"act_layer": "gelu"}, "act_layer=null"),
        ({"act_layer": "nosuch"}, {}, "act_layer=nosuch"),
        ({"act_layer": "relu", "drop_path_rate": 0.1}, {"zero_init_last": False}, ""),
        ({"stem": "cifar", "compile": True}, {"stem": "cifar"}, ""),
    ],
)
def test_options_of_a_run_are_compared_both_ways(
    theirs: dict[str, Any], here: dict[str, Any], told: str, tmp_path: Path
) -> None:
    stem = {key: value for key, value in (theirs | here).items() if key == "stem"}
    state = encoder("resnet10t" if not stem else "resnet18", 3, 32, **stem).state_dict()
    own = {"encoder": "a", "encoder_kwargs": theirs}
    file = tmp_path / "run.ckpt"
    named = {f"encoder.{name}": value for name, value in state.items()}
    torch.save({"state_dict": named, "genlab": {}, "hyper_parameters": own}, file)
    name = "resnet18" if stem else "resnet10t"
    if not told:
        encoder(name, 3, 32, pretrained=str(file), **here)
        return
    with pytest.warns(UserWarning, match=f"other features than .*take its own: {told}"):
        encoder(name, 3, 32, pretrained=str(file), **here)


def test_a_number_of_heads_changes_features_and_no_shape(tmp_path: Path) -> None:
    small: dict[str, Any] = {"embed_dim": 32, "depth": 1, "patch_size": 8}
    name = "vit_tiny_patch16_224"
    state = encoder(name, 3, 32, num_heads=4, **small).state_dict()
    own = {"encoder": name, "encoder_kwargs": small | {"num_heads": 4}}
    named = {f"encoder.{name}": value for name, value in state.items()}
    file = tmp_path / "run.ckpt"
    torch.save({"state_dict": named, "genlab": {}, "hyper_parameters": own}, file)
    encoder(name, 3, 32, pretrained=str(file), num_heads=4, **small)
    with pytest.warns(UserWarning, match="take its own: num_heads=4"):
        encoder(name, 3, 32, pretrained=str(file), num_heads=2, **small)
