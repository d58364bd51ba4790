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
from tests.checkpoints.foreign.test_heads import classifier
from tests.checkpoints.foreign.test_neighbours import NEXT, made, shaken


def small_convnext() -> nn.Module:
    stages = [(8, 16), (16, 16), (16, 16), (16, None)]
    return models.ConvNeXt([CNBlockConfig(i, o, 1) for i, o in stages], num_classes=7)


# torchvision's network, the encoder to load it, its arguments
SMALL: list[tuple[Callable[..., nn.Module], str, dict[str, Any]]] = [
    (small_convnext, "convnext_tiny", NEXT),
]
LARGE: list[tuple[Callable[..., nn.Module], str, dict[str, Any]]] = [
    (lambda: models.convnext_tiny(num_classes=7), "convnext_tiny", {}),
    (lambda: models.convnext_small(num_classes=7), "convnext_small", {}),
]


def ids(table: list[tuple[Callable[..., nn.Module], str, dict[str, Any]]]) -> list[str]:
    return [name for _, name, _ in table]


def file_of(source: nn.Module, folder: Path) -> Path:
    torch.save(source.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


def assert_equal(source: nn.Module, name: str, kwargs: dict[str, Any], folder: Path) -> None:
    """Logits, and therefore features under the last linear map, of both networks."""
    file = file_of(source, folder)
    found = classifier(name, file, kwargs=kwargs, size=64)
    image = torch.rand(4, 3, 64, 64)
    seen: list[torch.Tensor] = []
    linear = [m for m in source.modules() if isinstance(m, nn.Linear)][-1]
    linear.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        wanted = source(image)
        assert wanted.std(0).max() > 1e-3 * wanted.abs().max()  # images are told apart
        torch.testing.assert_close(found.logits(image), wanted, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found.encoder(image), seen[0], rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*does not say which network")
@pytest.mark.parametrize(("make", "name", "kwargs"), SMALL, ids=ids(SMALL))
def test_features_and_logits_are_torchvisions(
    make: Callable[..., nn.Module], name: str, kwargs: dict[str, Any], tmp_path: Path
) -> None:
    assert_equal(shaken(make()), name, kwargs, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*does not say which network")
@pytest.mark.parametrize(("make", "name", "kwargs"), LARGE, ids=ids(LARGE))
def test_features_and_logits_are_a_large_torchvisions(
    make: Callable[..., nn.Module], name: str, kwargs: dict[str, Any], tmp_path: Path
) -> None:
    assert_equal(shaken(make()), name, kwargs, tmp_path)


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
