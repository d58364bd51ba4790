"""Weights of a neighbouring architecture are refused; those of the same one load as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from genlab.checkpoints import load_backbone
from genlab.errors import CheckpointError

VIT: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}
NEXT: dict[str, Any] = {"depths": (1, 1, 1, 1), "dims": (8, 16, 16, 16)}
RES: dict[str, Any] = {"layers": (1, 1, 1, 1)}

# the file's architecture, the one asked for, arguments of both that keep them small, what is told
NEIGHBOURS = [
    ("vit_base_patch32_clip_224", "vit_base_patch32_224", VIT, "norm_pre.weight"),
    ("vit_base_patch32_224", "vit_base_patch32_clip_224", VIT, "norm_pre.weight"),
    ("convnextv2_atto", "convnext_atto", NEXT, "mlp.grn.weight"),
    ("convnext_atto", "convnextv2_atto", NEXT, "mlp.grn.weight"),
    ("seresnet50", "resnet50", RES, "layer1.0.se."),
    ("ecaresnet50d", "resnet50d", RES, "layer1.0.se.conv.weight"),
    ("vit_small_patch14_dinov2", "vit_small_patch16_224", VIT, "blocks.0.ls1.gamma"),
    ("vit_small_patch14_reg4_dinov2", "vit_small_patch14_dinov2", VIT, "pos_embed"),
]


def made(name: str, shake: bool = True, **options: Any) -> Any:
    model = timm.create_model(name, **options).eval()
    return shaken(model) if shake else model


def shaken(model: Any, seed: int = 0) -> Any:
    """A network whose every value matters: none is zero or one, as constructors leave many."""
    generator = torch.Generator().manual_seed(seed)
    for value in model.state_dict().values():
        if value.is_floating_point():
            value += torch.rand(value.shape, generator=generator) * 0.05 + 0.01
    return model.eval()


@torch.no_grad()
def features(model: Any, size: int = 32) -> Tensor:
    image = torch.linspace(0, 1, 2 * 3 * size * size).sin().reshape(2, 3, size, size)
    return model.forward_head(model.forward_features(image), pre_logits=True)


@pytest.mark.parametrize(
    ("held", "asked", "options", "named"), NEIGHBOURS, ids=[f"{a}-{b}" for a, b, *_ in NEIGHBOURS]
)
def test_a_neighbour_is_refused_by_the_tensors_that_tell(
    held: str, asked: str, options: dict[str, Any], named: str, tmp_path: Path
) -> None:
    torch.save(made(held, **options).state_dict(), tmp_path / "weights.pth")
    model = timm.create_model(asked, num_classes=0, **options)
    before = {n: v.clone() for n, v in model.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_backbone(model, tmp_path / "weights.pth")
    assert named in str(error.value)
    assert len(str(error.value).splitlines()) <= 3
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_a_refusal_names_the_network_that_fits(tmp_path: Path) -> None:
    torch.save(timm.create_model("seresnet18").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="it fits seresnet18; model"):
        load_backbone(timm.create_model("resnet18", num_classes=0), tmp_path / "weights.pth")


def test_a_refusal_names_the_option_that_adds_layer_scale(tmp_path: Path) -> None:
    held, asked, options, _ = next(one for one in NEIGHBOURS if "ls1" in one[3])
    source = made(held, num_classes=0, **options)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=r"encoder_kwargs\.init_values=1e-5 adds layer scale"):
        load_backbone(timm.create_model(asked, num_classes=0, **options), tmp_path / "weights.pth")
    scaled: Any = timm.create_model(asked, num_classes=0, init_values=1e-5, **options).eval()
    assert load_backbone(scaled, tmp_path / "weights.pth").share == 1
    assert torch.equal(scaled(image := torch.rand(2, 3, 32, 32)), source(image))


def test_a_refusal_of_noise_names_the_network_that_fits(tmp_path: Path) -> None:
    torch.save(timm.create_model("convnext_atto_ols").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match="would see noise\nit fits convnext_atto_ols; "):
        load_backbone(timm.create_model("convnext_atto", num_classes=0), tmp_path / "weights.pth")
    torch.save(timm.create_model("test_efficientnet_gn").state_dict(), tmp_path / "weights.pth")
    with pytest.raises(CheckpointError, match=r"without them\nit fits .*test_efficientnet_gn"):
        load_backbone(
            timm.create_model("test_efficientnet", num_classes=0), tmp_path / "weights.pth"
        )
