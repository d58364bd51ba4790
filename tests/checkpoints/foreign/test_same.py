"""No false refusal: a file of the same architecture loads to equal features, in every family."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from genlab.checkpoints import load_backbone
from genlab.errors import CheckpointError
from tests.checkpoints.foreign.test_pairs import features, filled, made

pytestmark = pytest.mark.filterwarnings("ignore:.*does not say which network it is of")

# a network of each family, and the side of the images where it is not 64 px
FAMILIES = """
resnet10t
resnet18
seresnet18
ecaresnet26t
resnet50_gn
res2net50_26w_4s
resnetv2_18
nf_resnet26
densenet121
vgg11_bn
mobilenetv2_100
mobilenetv3_small_100
tf_mobilenetv3_small_minimal_100
efficientnet_b0
tf_efficientnet_lite0
mixnet_s
regnetx_002
regnety_002
repvgg_a0
ghostnet_100
rexnet_100
dla34
cs3darknet_s
hrnet_w18_small 96
convnext_atto
convnextv2_atto
poolformer_s12
edgenext_xx_small
mobilevit_xxs
xcit_nano_12_p16_224
vit_tiny_patch16_224
deit3_small_patch16_224
vit_small_patch14_reg4_dinov2 56
vit_base_patch32_clip_224
beit_base_patch16_224
cait_xxs24_224
pit_ti_224 224
levit_128s 224
swin_tiny_patch4_window7_224 224
mixer_s32_224 224
convmixer_768_32
inception_v3 96
"""
SIZED = ("deit3_small_patch16_224", "vit_tiny_patch16_384", "vit_base_patch32_clip_224")
QUICK = ("resnet10t", "convnextv2_atto", "vit_tiny_patch16_224", "regnety_002")
NO_EQUAL = {("nf_resnet26", "one channel")}  # its first kernel is standardised over channels
FILES = ("as it is", "without a head", "other classes", "one channel", "DDP")


def cases() -> list[Any]:
    """Each family with each kind of file; all but a few are slow."""
    found = []
    for line in FAMILIES.split("\n")[1:-1]:
        name, *sides = line.split()
        marks = [] if name in QUICK else [pytest.mark.slow]
        size = int(sides[0]) if sides else 64
        found += [
            pytest.param(name, size, kind, marks=marks, id=f"{name}, {kind}") for kind in FILES
        ]
    return found


@pytest.mark.parametrize(("name", "size", "kind"), cases())
def test_a_file_of_the_same_network_loads(name: str, size: int, kind: str, tmp_path: Path) -> None:
    classes = {"as it is": 1000, "other classes": 7}.get(kind, 0)
    source = filled(name, size, num_classes=classes)
    state = source.state_dict()
    if kind == "DDP":
        state = {"state_dict": {f"module.{n}": value for n, value in state.items()}, "epoch": 3}
    torch.save(state, tmp_path / "weights.pth")
    channels = 1 if kind == "one channel" else 3
    model = made(name, size, in_chans=channels)
    if (name, kind) in NO_EQUAL:
        with pytest.raises(CheckpointError, match=f"{name} standardises"):
            load_backbone(model, tmp_path / "weights.pth")
        return
    report = load_backbone(model, tmp_path / "weights.pth")
    assert report.share == 1
    assert not report.fresh
    source.reset_classifier(0)
    expected, found = features(source, size, grey=channels == 1), features(model, size, channels)
    scale = float(expected.std())
    assert 0 < scale < float("inf")
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * scale)


@pytest.mark.parametrize(
    "name", ["vit_tiny_patch16_224", *(pytest.param(one, marks=pytest.mark.slow) for one in SIZED)]
)
def test_a_file_of_another_image_size_loads_as_timm_resamples_it(name: str, tmp_path: Path) -> None:
    source = filled(name, 224)
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    model = timm.create_model(name, num_classes=0, img_size=160).eval()
    assert load_backbone(model, tmp_path / "weights.pth").share == 1
    source.set_input_size(img_size=160)
    expected = features(source, 160)
    torch.testing.assert_close(
        features(model, 160), expected, rtol=1e-4, atol=1e-4 * float(expected.std())
    )
