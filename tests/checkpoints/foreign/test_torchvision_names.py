"""Files of torchvision's networks, whose names are not timm's: their features and their logits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig

from genlab.checkpoints.foreign.pretrained import load_backbone
from genlab.checkpoints.foreign.torchvision_names import timms
from genlab.errors import CheckpointError
from tests.checkpoints.foreign.test_heads import classifier
from tests.checkpoints.foreign.test_neighbours import NEXT, made, shaken


def small_convnext() -> nn.Module:
    stages = [(8, 16), (16, 16), (16, 16), (16, None)]
    return models.ConvNeXt([CNBlockConfig(i, o, 1) for i, o in stages], num_classes=7)


EPSILON = {"bn_eps": 1e-3}

# torchvision's network, the encoder to load it, its arguments
SMALL: list[tuple[Callable[..., nn.Module], str, dict[str, Any]]] = [
    (small_convnext, "convnext_tiny", NEXT),
    (lambda: models.mobilenet_v3_small(num_classes=7), "mobilenetv3_small_100", EPSILON),
]
LARGE: list[tuple[Callable[..., nn.Module], str, dict[str, Any]]] = [
    (lambda: models.convnext_tiny(num_classes=7), "convnext_tiny", {}),
    (lambda: models.convnext_small(num_classes=7), "convnext_small", {}),
    (lambda: models.efficientnet_b0(num_classes=7), "efficientnet_b0", {}),
    (lambda: models.mobilenet_v3_large(num_classes=7), "mobilenetv3_large_100", EPSILON),
    (lambda: models.mobilenet_v2(num_classes=7), "mobilenetv2_100", {}),
    (lambda: models.efficientnet_b4(num_classes=7), "efficientnet_b4", {}),
    (lambda: models.efficientnet_b5(num_classes=7), "efficientnet_b5", EPSILON),
    (lambda: models.efficientnet_v2_s(num_classes=7), "efficientnetv2_s", EPSILON),
    (lambda: models.efficientnet_v2_l(num_classes=7), "efficientnetv2_l", EPSILON),
]


def ids(table: list[tuple[Callable[..., nn.Module], str, dict[str, Any]]]) -> list[str]:
    return [name for _, name, _ in table]


def file_of(source: nn.Module, folder: Path) -> Path:
    torch.save(source.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


@torch.no_grad()
def randomised(source: nn.Module) -> nn.Module:
    """A network that tells images apart: batch norm's statistics are near those of its inputs."""
    torch.manual_seed(0)
    source.eval()  # but for the norms: no dropout
    norms = [m for m in source.modules() if isinstance(m, nn.BatchNorm2d)]
    if not norms:
        return shaken(source)
    for norm in norms:
        norm.train().momentum = 1.0
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_(0, 0.1)
    source(images())
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.add_(0.1 * torch.randn_like(norm.running_mean))
        norm.running_var.mul_(torch.rand_like(norm.running_var) + 0.5)
    return source.eval()


def images() -> torch.Tensor:
    """Of other brightness each, (4, 3, 64, 64)."""
    return torch.rand(4, 3, 64, 64) * torch.tensor([1.0, 0.7, 0.4, 0.1])[:, None, None, None]


def assert_equal(source: nn.Module, name: str, kwargs: dict[str, Any], folder: Path) -> None:
    """Logits, and features under the last linear map; in float64, which tells error from noise."""
    file = file_of(source, folder)
    found = classifier(name, file, kwargs=kwargs, size=64).double()
    source, image = source.double(), images().double()
    seen: list[torch.Tensor] = []
    linear = [m for m in source.modules() if isinstance(m, nn.Linear)][-1]
    linear.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        wanted = source(image)
        assert wanted.std(0).max() > 1e-2 * wanted.abs().max()  # images are told apart
        torch.testing.assert_close(found.logits(image), wanted, rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(found.encoder(image), seen[0], rtol=1e-6, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.*does not say which network")
@pytest.mark.parametrize(("make", "name", "kwargs"), SMALL, ids=ids(SMALL))
def test_features_and_logits_are_torchvisions(
    make: Callable[..., nn.Module], name: str, kwargs: dict[str, Any], tmp_path: Path
) -> None:
    assert_equal(randomised(make()), name, kwargs, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*does not say which network")
@pytest.mark.parametrize(("make", "name", "kwargs"), LARGE, ids=ids(LARGE))
def test_features_and_logits_are_a_large_torchvisions(
    make: Callable[..., nn.Module], name: str, kwargs: dict[str, Any], tmp_path: Path
) -> None:
    assert_equal(randomised(make()), name, kwargs, tmp_path)


def test_torchvisions_training_script_keeps_an_average(tmp_path: Path) -> None:
    online, average = shaken(small_convnext()), shaken(small_convnext(), seed=1)
    ema = {f"module.{name}": value for name, value in average.state_dict().items()}
    torch.save({"model": online.state_dict(), "model_ema": ema}, tmp_path / "model_0.pth")
    for take, source in ("online", online), ("ema", average):
        model = made("convnext_tiny", num_classes=0, **NEXT)
        report = load_backbone(model, tmp_path / "model_0.pth", take=take)
        assert report.share == 1
        wanted = source.state_dict()["features.1.0.layer_scale"].flatten()
        assert torch.equal(model.state_dict()["stages.0.blocks.0.gamma"], wanted)


def test_torchvisions_own_network_keeps_its_names(tmp_path: Path) -> None:
    source, model = shaken(small_convnext()), small_convnext()
    assert load_backbone(model, file_of(source, tmp_path)).share == 1
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value), name


@pytest.mark.parametrize("name", ["densenet121", "vgg11", "resnet18", "convnext_atto"])
def test_timms_names_stay(name: str) -> None:
    state = made(name, shake=False, num_classes=0).state_dict()
    assert timms(state) is state


SAID = {
    "mobilenet_v3_small": ("mobilenetv3_small_100", "1e-05\n.*model.encoder_kwargs.bn_eps=0.001"),
    "efficientnet_b0": ("tf_efficientnet_b0", "TensorFlow does\n.*model.encoder=efficientnet_b0"),
}


@pytest.mark.parametrize("name", SAID)
def test_another_epsilon_or_padding_is_refused_with_the_way_to_torchvisions(
    name: str, tmp_path: Path
) -> None:
    file = file_of(models.get_model(name, weights=None), tmp_path)
    encoder, said = SAID[name]
    with pytest.raises(CheckpointError, match=said):
        load_backbone(made(encoder, shake=False, num_classes=0), file)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["s", "l"])
def test_statistics_of_the_images_are_torchvisions(size: str, tmp_path: Path) -> None:
    source = models.get_model(f"efficientnet_v2_{size}", weights=None)
    model = made(f"efficientnetv2_{size}", shake=False, num_classes=0, **EPSILON)
    report = load_backbone(model, file_of(source, tmp_path), architecture=f"efficientnetv2_{size}")
    weights = models.get_model_weights(f"efficientnet_v2_{size}")["IMAGENET1K_V1"]
    assert report.mean == tuple(weights.transforms().mean)
    assert report.std == tuple(weights.transforms().std)
