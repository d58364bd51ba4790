"""A file's classifier, where it is asked for: logits of the network that wrote it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.resnet import BasicBlock

import genlab.checkpoints
from genlab.errors import CheckpointError
from genlab.methods import Classifier
from tests.checkpoints.foreign import layouts_made
from tests.checkpoints.foreign.test_neighbours import NEXT, RES, VIT, made, shaken

PLAIN = {"normalize": {"mean": [0.0] * 3, "std": [1.0] * 3}}
SMALL = {
    "resnet26": RES,
    "vit_tiny_patch16_224": VIT,
    "convnext_atto": NEXT,
    "mobilenetv3_small_050": {},
}

DENSE: dict[str, Any] = {"growth_rate": 8, "block_config": (1, 1, 1, 1)}

# torchvision's network, the name of its classifier, the encoder to load it, small ones' arguments
TORCHVISION: list[tuple[Callable[[], nn.Module], str, str, dict[str, Any]]] = [
    (lambda: models.ResNet(BasicBlock, [1, 1, 1, 1], 7), "fc", "resnet18", RES),
    (
        lambda: models.DenseNet(8, (1, 1, 1, 1), 16, num_classes=7),
        "classifier",
        "densenet121",
        DENSE,
    ),
    (lambda: models.regnet_y_400mf(num_classes=7), "fc", "regnety_004", {}),
    (
        lambda: models.VisionTransformer(32, 8, 2, 2, 32, 128, num_classes=7),
        "heads.head",
        "vit_tiny_patch16_224",
        VIT,
    ),
]
LARGE: list[tuple[Callable[[], nn.Module], str, str, int]] = [
    (lambda: models.vgg11(num_classes=7), "classifier.6", "vgg11", 224),
    (lambda: models.vgg11_bn(num_classes=7), "classifier.6", "vgg11_bn", 224),
    (lambda: models.inception_v3(num_classes=7, init_weights=False), "fc", "inception_v3", 299),
]


def classifier(name: str, file: Path, **options: Any) -> Classifier:
    kwargs = {k: v for k, v in options.pop("kwargs", {}).items() if k != "img_size"}
    classes, options = options.pop("num_classes", 7), {"head": "file"} | options
    where: dict[str, Any] = {"pretrained": str(file), "encoder_kwargs": kwargs | PLAIN}
    return Classifier(classes, 3, options.pop("size", 32), name, **where, **options).eval()


@pytest.mark.parametrize("name", SMALL)
def test_logits_are_the_files(name: str, tmp_path: Path) -> None:
    source = made(name, num_classes=7, **SMALL[name])
    torch.save(source.state_dict(), tmp_path / f"{name}.pth")
    image = torch.rand(2, 3, 32, 32)
    found = classifier(name, tmp_path / f"{name}.pth", kwargs=SMALL[name])
    with torch.no_grad():
        torch.testing.assert_close(found.logits(image), source(image))


def assert_torchvisions(
    source: nn.Module, head: str, name: str, folder: Path, size: int, kwargs: dict[str, Any]
) -> None:
    assert {f"{head}.weight", f"{head}.bias"} <= source.state_dict().keys()
    torch.save(source.state_dict(), folder / "weights.pth")
    image = torch.rand(2, 3, size, size)
    found = classifier(name, folder / "weights.pth", kwargs=kwargs, size=size)
    with torch.no_grad():
        torch.testing.assert_close(found.logits(image), source(image))


@pytest.mark.filterwarnings("ignore:.*does not say which network")
@pytest.mark.parametrize(
    ("make", "head", "name", "kwargs"), TORCHVISION, ids=[name for _, _, name, _ in TORCHVISION]
)
def test_logits_are_torchvisions(
    make: Callable[[], nn.Module], head: str, name: str, kwargs: dict[str, Any], tmp_path: Path
) -> None:
    assert_torchvisions(shaken(make()), head, name, tmp_path, 32, kwargs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "head", "name", "size"), LARGE, ids=[name for _, _, name, _ in LARGE]
)
def test_logits_are_a_large_torchvisions(
    make: Callable[[], nn.Module], head: str, name: str, size: int, tmp_path: Path
) -> None:
    assert_torchvisions(make().eval(), head, name, tmp_path, size, {})


def test_the_report_does_not_say_that_a_classifier_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = made("resnet26", num_classes=7, **RES).state_dict()
    torch.save(state, tmp_path / "resnet26.pth")
    classifier("resnet26", tmp_path / "resnet26.pth", kwargs=RES)
    said = capsys.readouterr().err
    assert "classifier  fc, 7 classes: model.head=file takes it" in said
    assert "left out" not in said


def test_a_run_of_genlab_is_a_file_too_and_needs_it_no_more(tmp_path: Path) -> None:
    source = Classifier(7, 3, 32, "lenet", encoder_kwargs=PLAIN).eval()
    content = {
        "state_dict": source.state_dict(),
        "hyper_parameters": dict(source.hparams),
        "genlab": {"class_path": "genlab.methods.classifier.Classifier"},
    }
    torch.save(content, tmp_path / "first.ckpt")
    found = classifier("lenet", tmp_path / "first.ckpt")
    image = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(found.logits(image), source.logits(image))
        again = content | {"hyper_parameters": dict(found.hparams)}
        torch.save(again, tmp_path / "second.ckpt")
        (tmp_path / "first.ckpt").unlink()
        loaded: Any = genlab.checkpoints.load(tmp_path / "second.ckpt")
        torch.testing.assert_close(loaded.logits(image), source.logits(image))


def test_what_is_not_the_wanted_classifier_is_refused(tmp_path: Path) -> None:
    state = made("resnet26", num_classes=7, **RES).state_dict()
    torch.save(state, tmp_path / "resnet26.pth")
    with pytest.raises(CheckpointError, match="7 classes by 2048 features, here are 10 by 2048"):
        classifier("resnet26", tmp_path / "resnet26.pth", kwargs=RES, num_classes=10)
    moco = {"state_dict": layouts_made.under("module.encoder_q.", state)}
    for other in (layouts_made.bare(state), moco):
        torch.save(other, tmp_path / "resnet26.pth")
        with pytest.raises(CheckpointError, match="no linear classifier for head=file"):
            classifier("resnet26", tmp_path / "resnet26.pth", kwargs=RES)


@pytest.mark.parametrize("name", ["weight", "bias"])
def test_a_classifier_that_is_not_finite_is_refused(name: str, tmp_path: Path) -> None:
    state = made("resnet26", num_classes=7, **RES).state_dict()
    state[f"fc.{name}"][0] = torch.nan
    torch.save(state, tmp_path / "resnet26.pth")
    with pytest.raises(CheckpointError, match=rf"NaN or infinity in the {name} of its classifier"):
        classifier("resnet26", tmp_path / "resnet26.pth", kwargs=RES)
    classifier("resnet26", tmp_path / "resnet26.pth", kwargs=RES, head="new")


def test_arguments_that_cannot_be_meant() -> None:
    with pytest.raises(ValueError, match="head=file requires pretrained"):
        Classifier(7, 3, 32, "lenet", head="file")
    with pytest.raises(ValueError, match="unknown head 'old'; choose from new, file"):
        Classifier(7, 3, 32, "lenet", head="old")
    with pytest.raises(ValueError, match="head=file cannot be combined with prior_bias"):
        Classifier(7, 3, 32, "lenet", head="file", prior_bias=True)


def test_real_weights_with_their_head() -> None:
    folder = Path(os.environ.get("GENLAB_WEIGHTS", "-"))
    file = folder / "tf_efficientnet_lite0-imagenet1k.safetensors"
    if not file.is_file():
        pytest.skip("GENLAB_WEIGHTS does not name a folder with tf_efficientnet_lite0's weights")
    found = Classifier(1000, 3, 96, "tf_efficientnet_lite0", pretrained=str(file), head="file")
    source = made("tf_efficientnet_lite0", checkpoint_path=str(file), shake=False)
    image = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        torch.testing.assert_close(found.eval().logits(image), source((image - 0.5) / 0.5))
