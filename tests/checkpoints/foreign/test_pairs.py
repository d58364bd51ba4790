"""Pairs of timm's networks that share nine tenths of their parameters and not their features.

They were found by comparing all of timm's networks of a module with each other. Each is asked for
with a file of the other: it is refused, or, where all tensors are alike, the user is asked.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from torch import Tensor

from genlab.checkpoints import load_backbone
from genlab.errors import CheckpointError

# both networks, and the side of the images where it is not 64 px
NEIGHBOURS = """
seresnet18 resnet18
resnet18d resnet18
convnextv2_atto convnext_atto
convnext_atto_ols convnext_atto
convnext_atto_rms convnext_atto
convnextv2_atto convnext_atto_rms
convnextv2_femto convnext_femto
convnext_pico_ols convnextv2_pico
convnextv2_nano convnext_nano
convnext_zepto_rms convnext_zepto_rms_ols
test_convnext2 test_convnext3
resnet26t resnet26d
ecaresnet26t resnet26t
seresnext26ts resnext26ts
eca_resnext26ts gcresnext26ts
seresnet33ts resnet33ts
seresnet34 resnet34d
seresnet50 resnet50
resnet50s resnet50
resnet50_gn resnet50
ecaresnet50d resnet50d
resnet50t resnet50d
ecaresnet50t resnet50t
seresnext50_32x4d resnext50_32x4d
res2next50 resnext50_32x4d
resnetv2_18d resnetv2_18
resnetv2_50d resnetv2_50
resnetv2_50x1_bit resnetv2_50
ese_vovnet39b vovnet39a
cs3darknet_focus_s cs3darknet_s
sedarknet21 darknet21
xception41p xception41 96
densenetblur121d densenet121
efficientnet_b0_gn efficientnet_b0
mobilenetv3_rw mobilenetv3_large_100
hardcorenas_e hardcorenas_f
repvit_m0_9 repvit_m1
regnety_040_sgn regnety_040
nf_seresnet26 nf_resnet26
poolformerv2_s12 poolformer_s12
xcit_nano_12_p16_224 xcit_nano_12_p8_224
crossvit_9_dagger_240 crossvit_9_240 240
swinv2_cr_tiny_ns_224 swinv2_cr_tiny_224 224
pit_ti_distilled_224 pit_ti_224 224
deit_tiny_distilled_patch16_224 vit_tiny_patch16_224
deit3_small_patch16_224 deit_small_patch16_224
vit_small_patch14_dinov2 vit_small_patch16_224 112
vit_small_patch14_reg4_dinov2 vit_small_patch14_dinov2 112
vit_small_patch14_dinov2 deit3_small_patch16_224 112
vit_small_patch16_dinov3 vit_small_patch16_rope_224
vit_relpos_small_patch16_rpn_224 vit_relpos_small_patch16_224
vit_little_patch16_reg4_gap_256 vit_little_patch16_reg1_gap_256
vit_dwee_patch16_reg1_gap_256 vit_wee_patch16_reg1_gap_256
vit_base_patch32_clip_224 vit_base_patch32_224
"""
TWINS = """
test_efficientnet_gn test_efficientnet_ln
efficientnet_b0 tf_efficientnet_b0
efficientnet_blur_b0 efficientnet_b0
efficientnet_lite0 tf_efficientnet_lite0
efficientnet_es tf_efficientnet_es
mixnet_s tf_mixnet_s
mobilenetv3_small_100 tf_mobilenetv3_small_100
mobilenetv3_large_100 tf_mobilenetv3_large_100
mobilenetv4_conv_aa_medium mobilenetv4_conv_medium
resnetblur18 resnet18
resnetaa34d resnet34d
resnetaa50 resnet50
resnetblur50d resnet50d
vit_small_patch16_rope_mixed_224 vit_small_patch16_rope_224
vit_base_patch32_clip_quickgelu_224 vit_base_patch32_clip_224
swin_s3_tiny_224 swin_tiny_patch4_window7_224 224
"""
QUICK = {"convnextv2_atto convnext_atto", "seresnet18 resnet18", "test_convnext2 test_convnext3",
         "test_efficientnet_gn test_efficientnet_ln", "resnetblur18 resnet18"}  # fmt: skip


def cases(table: str) -> list[Any]:
    """The pairs of a table in both orders; all but a few are slow."""
    found = []
    for line in table.split("\n")[1:-1]:
        one, other, *sides = line.split()
        marks = [] if line in QUICK else [pytest.mark.slow]
        for held, asked in ((one, other), (other, one)):
            size = int(sides[0]) if sides else 64
            found.append(pytest.param(held, asked, size, marks=marks, id=f"{held}-{asked}"))
    return found


def made(name: str, size: int, **options: Any) -> Any:
    options = {"num_classes": 0} | options
    try:
        return timm.create_model(name, img_size=size, **options).eval()
    except TypeError:
        return timm.create_model(name, **options).eval()


def filled(name: str, size: int, **options: Any) -> Any:
    """A network every value of which matters: none is zero or one, as constructors leave many."""
    torch.manual_seed(0)
    model = made(name, size, **options)
    for key, value in model.state_dict().items():
        if key.endswith(("running_var", "gamma", "weight")) and value.ndim == 1:
            value += 0.3 * torch.rand_like(value)
        elif value.is_floating_point():
            value += 0.02 * torch.randn_like(value)
    return model


@torch.no_grad()
def features(model: Any, size: int, channels: int = 3, grey: bool = False) -> Tensor:
    image = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    image *= torch.tensor([1.0, 0.2])[:, None, None, None]
    if grey or channels == 1:
        image = image[:, :1].expand(-1, channels, -1, -1)
    return model(image)


def same(one: Tensor, other: Tensor) -> bool:
    """True if features are equal to 1e-3 of what tells two images apart."""
    assert one.isfinite().all()
    scale = float((one[0] - one[1]).abs().max())
    assert scale > 0
    return one.shape == other.shape and float((one - other).abs().max()) < 1e-3 * scale


@pytest.mark.parametrize(("held", "asked", "size"), cases(NEIGHBOURS))
def test_a_neighbour_is_refused(held: str, asked: str, size: int, tmp_path: Path) -> None:
    source, model = filled(held, size), made(asked, size)
    fresh = {name: value.clone() for name, value in model.state_dict().items()}
    for content in (source.state_dict(), {"state_dict": source.state_dict(), "arch": held}):
        torch.save(content, tmp_path / "weights.pth")
        with pytest.raises(CheckpointError) as error:
            load_backbone(model, tmp_path / "weights.pth")
        assert len(str(error.value).splitlines()) <= 3
        assert all(torch.equal(v, fresh[name]) for name, v in model.state_dict().items())
    assert f"is of {held}, not of {asked}" in str(error.value)
    assert share_of_parameters(model, tmp_path / "weights.pth") >= 0.9
    assert not same(features(source, size), features(model, size))


def share_of_parameters(model: Any, file: Path) -> float:
    """The share that loads where nothing else is asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*fresh: train it")
        return load_backbone(model, file, at_least=0.89).share


@pytest.mark.parametrize(("held", "asked", "size"), cases(TWINS))
def test_of_twins_the_user_is_asked(held: str, asked: str, size: int, tmp_path: Path) -> None:
    """All tensors fit both: what the file says decides, and where it says nothing it is told."""
    source, model, file = filled(held, size), made(asked, size), tmp_path / "weights.pth"
    torch.save({"state_dict": source.state_dict(), "arch": held}, file)
    with pytest.raises(CheckpointError, match=f"is of {held}, not of {asked}"):
        load_backbone(model, file)
    torch.save(source.state_dict(), file)
    with pytest.raises(CheckpointError, match=f"is of {held}, not of {asked}"):
        load_backbone(model, file, architecture=held)
    with pytest.warns(UserWarning, match=rf"does not say which network.* {held}\b"):
        load_backbone(model, file)
    assert not same(features(source, size), features(model, size))
    assert load_backbone(own := made(held, size), file, architecture=held).share == 1
    assert same(features(source, size), features(own, size))
