"""Every known layout loads to bit-equal features; what is not the model's is refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import Tensor, nn

from genlab.checkpoints import load_backbone
from genlab.errors import CheckpointError
from tests.checkpoints.foreign import layouts_made as made

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say which network it is of")

VIT: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 64, "depth": 3, "num_heads": 4}
MODELS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": lambda **k: timm.create_model("resnet18", **k),
    "vit": lambda **k: timm.create_model("vit_tiny_patch16_224", **{**VIT, **k}),
}
LAYOUTS = {
    (kind, name): make
    for kind, own in (("resnet18", made.RESNET), ("vit", made.VIT))
    for name, make in {**made.COMMON, **own}.items()
}
IDS = [f"{kind}-{name}" for kind, name in LAYOUTS]


def values(kind: str, seed: int) -> dict[str, Tensor]:
    """Weights and statistics that no constructor gives."""
    generator = torch.Generator().manual_seed(seed)
    state = MODELS[kind]().state_dict()
    return {
        n: torch.rand(v.shape, generator=generator) * 0.1 + 0.01 if v.is_floating_point() else v
        for n, v in state.items()
    }


@pytest.fixture(scope="module")
def copies() -> dict[str, tuple[dict[str, Tensor], dict[str, Tensor]]]:
    return {kind: (values(kind, 1), values(kind, 2)) for kind in MODELS}


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "weights.pth"
    yield path
    path.unlink(missing_ok=True)


def features(model: nn.Module) -> Tensor:
    with torch.no_grad():
        return model.eval()(torch.linspace(0, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32))


def expected(kind: str, state: dict[str, Tensor]) -> Tensor:
    model = MODELS[kind](num_classes=0)
    model.load_state_dict(made.bare(state))
    return features(model)


@pytest.mark.parametrize(("kind", "name"), LAYOUTS, ids=IDS)
def test_layout_loads_to_the_same_features(kind: str, name: str, copies: Any, file: Path) -> None:
    torch.save(LAYOUTS[kind, name](*copies[kind]), file)
    model = MODELS[kind](num_classes=0)
    report = load_backbone(model, str(file))
    assert torch.equal(features(model), expected(kind, copies[kind][0]))
    assert report.share == 1
    assert not report.missing
    assert not report.mismatched
    assert str(file) in str(report)


@pytest.mark.parametrize(("kind", "name"), LAYOUTS, ids=IDS)
def test_names_of_nothing_are_refused(kind: str, name: str, copies: Any, file: Path) -> None:
    torch.save(made.renamed(LAYOUTS[kind, name](*copies[kind])), file)
    assert_refused(MODELS[kind](num_classes=0), file, "0 %")


@pytest.mark.parametrize(("held", "asked"), [("resnet34", "resnet18"), ("resnet18", "resnet34")])
def test_another_depth_is_refused(held: str, asked: str, file: Path) -> None:
    torch.save(made.under("module.", timm.create_model(held).state_dict()), file)
    message = assert_refused(timm.create_model(asked, num_classes=0), file, "52.5 %")
    assert f"it looks like {held}" in message


@pytest.mark.parametrize("other", [{"embed_dim": 96}, {"depth": 6}, {"depth": 2}])
def test_another_vit_is_refused(other: dict[str, int], copies: Any, file: Path) -> None:
    torch.save(copies["vit"][0], file)
    assert_refused(MODELS["vit"](num_classes=0, **other), file, "90 % are needed")


def test_another_family_is_refused(copies: Any, file: Path) -> None:
    torch.save(copies["resnet18"][0], file)
    message = assert_refused(MODELS["vit"](num_classes=0), file, "it looks like resnet18")
    assert "its names are like conv1.weight, the model's like cls_token" in message


def test_less_is_enough_when_told(file: Path) -> None:
    torch.save(timm.create_model("resnet34").state_dict(), file)
    report = load_backbone(timm.create_model("resnet18", num_classes=0), str(file), at_least=0.5)
    assert report.share == 1
    assert report.unexpected[0].startswith("layer1.2.")


def test_safetensors(copies: Any, tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(made.under("backbone.", copies["vit"][0]), file)
    model = MODELS["vit"](num_classes=0)
    load_backbone(model, str(file))
    assert torch.equal(features(model), expected("vit", copies["vit"][0]))


def test_projector_never_becomes_a_classifier(copies: Any, file: Path) -> None:
    """MoCo v1's projection is called fc and may have the classifier's very shape."""
    torch.save({"state_dict": made.under("module.encoder_q.", copies["resnet18"][0])}, file)
    model: Any = MODELS["resnet18"]()
    fresh = model.fc.weight.clone()
    report = load_backbone(model, str(file))
    assert torch.equal(model.fc.weight, fresh)
    assert "fc.weight" in report.dropped


def test_classifier_loads_where_it_is_one(copies: Any, file: Path) -> None:
    torch.save(copies["resnet18"][0], file)
    model: Any = MODELS["resnet18"]()
    load_backbone(model, str(file))
    assert torch.equal(model.fc.weight, copies["resnet18"][0]["fc.weight"])
    ten: Any = MODELS["resnet18"](num_classes=10)
    report = load_backbone(ten, str(file))
    assert report.share == 1
    assert "fc.weight" in report.dropped


def test_classifier_of_a_vit_loads(copies: Any, file: Path) -> None:
    torch.save(made.COMMON["DeiT"](*copies["vit"]), file)
    model: Any = MODELS["vit"]()
    report = load_backbone(model, str(file))
    assert torch.equal(model.head.weight, copies["vit"][0]["head.weight"])
    assert not report.dropped


@pytest.mark.parametrize(
    ("kind", "name", "said", "imagenet"),
    [
        ("resnet18", "MoCo v1, v2", "MoCo, its online copy", True),
        ("vit", "MoCo v3", "MoCo v3, its online copy", True),
        ("vit", "MAE", "MAE, the only copy", True),
        ("vit", "DINO (teacher)", "DINO, its momentum copy, not the online one", True),
        ("vit", "DeiT", "DeiT, the only copy", True),
        ("resnet18", "SwAV", "SwAV", True),
        ("resnet18", "Barlow Twins", "Barlow Twins", True),
        ("resnet18", "SimSiam", "SimSiam", True),
        ("vit", "BYOL (lucidrains)", "BYOL, its online copy", False),
        ("resnet18", "solo-learn", "self-supervised in Lightning, its online copy", False),
        ("vit", "DDP", "plain, the only copy", None),
        ("vit", "SWA", "plain, its online copy", None),
        ("vit", "DINO (backbone)", "plain, the only copy", False),
    ],
)
def test_report_says_whose_and_which_images(
    kind: str, name: str, said: str, imagenet: bool | None, copies: Any, file: Path
) -> None:
    """Known code normalises by ImageNet's statistics; a timm classifier by timm's for the name."""
    torch.save(LAYOUTS[kind, name](*copies[kind]), file)
    report = load_backbone(MODELS[kind](num_classes=0), str(file))
    assert report.layout.startswith(said)
    expected = {True: (0.485, 0.456, 0.406), False: None, None: (0.5, 0.5, 0.5)}
    assert report.mean == expected[imagenet]


def test_torchvision_families_with_other_names(file: Path) -> None:
    from torchvision.models import swin_t

    torch.save(swin_t().state_dict(), file)
    model = timm.create_model("swin_tiny_patch4_window7_224", num_classes=0)
    assert_refused(model, file, "torchvision's")


def test_real_torchvision_vit(file: Path) -> None:
    from torchvision.models import VisionTransformer

    original = VisionTransformer(32, 8, 2, 4, 64, 256).eval()
    torch.save(original.state_dict(), file)
    model = MODELS["vit"](num_classes=1000, depth=2)
    load_backbone(model, str(file))
    image = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(model.eval()(image), original(image), rtol=0, atol=1e-5)


def assert_refused(model: nn.Module, file: Path, message: str) -> str:
    """A clear refusal in two lines that leaves the model as it was."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_backbone(model, str(file))
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) <= 2
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    return str(error.value)
