"""Files that say their architecture are taken at their word; where none does, the user is asked."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch

from genlab.checkpoints import backbone_of, load_backbone
from genlab.checkpoints.foreign import architecture
from genlab.checkpoints.foreign.fetching import Fetched
from genlab.errors import CheckpointError
from tests.checkpoints.foreign.alike_made import fingerprint
from tests.checkpoints.foreign.test_pairs import features, filled, made

RES: dict[str, Any] = {"layers": (1, 1, 1, 1)}


def saved(folder: Path, name: str, content: dict[str, Any] | None = None) -> Path:
    """A small network of timm's and what is said of it."""
    state = timm.create_model(name, num_classes=5, **RES).state_dict()
    torch.save({"state_dict": state, **(content or {})}, folder / "weights.pth")
    return folder / "weights.pth"


def wanted(name: str = "resnet50") -> Any:
    return timm.create_model(name, num_classes=0, **RES)


TOLD: dict[str, dict[str, Any]] = {
    "timm's training": {"arch": "resnetblur50", "args": {"model": "other"}},
    "arguments": {"args": argparse.Namespace(model="resnetblur50.bt_in1k")},
    "hyper-parameters": {"hyper_parameters": {"encoder": "timm/resnetblur50"}},
}


@pytest.mark.parametrize("case", TOLD)
def test_a_file_of_another_architecture_is_refused(case: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as error:
        load_backbone(wanted(), saved(tmp_path, "resnetblur50", TOLD[case]))
    first, second = str(error.value).splitlines()
    assert first.endswith("is of resnetblur50, not of resnet50: their features differ")
    assert second == "ask for it: model.encoder=resnetblur50"


def test_a_folder_of_timm_says_it_in_its_configuration(tmp_path: Path) -> None:
    state = timm.create_model("resnetblur50", num_classes=5, **RES).state_dict()
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnetblur50"}))
    with pytest.raises(CheckpointError, match="is of resnetblur50, not of resnet50"):
        load_backbone(wanted(), tmp_path)
    assert load_backbone(wanted("resnetblur50"), tmp_path).share == 1


def test_metadata_of_safetensors_say_it(tmp_path: Path) -> None:
    state = timm.create_model("resnetblur50", num_classes=5, **RES).state_dict()
    file = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(state, file, metadata={"architecture": "resnetblur50"})
    with pytest.raises(CheckpointError, match="is of resnetblur50, not of resnet50"):
        load_backbone(wanted(), file)


def test_the_same_network_under_another_name_loads(tmp_path: Path) -> None:
    """A name and its tag, a former name, and a twin that differs in its training alone."""
    for name in ("resnet50.a1_in1k", "timm/resnet50.tv_in1k", "resnet50"):
        file = saved(tmp_path, "resnet50", {"arch": name})
        assert load_backbone(wanted(), file).share == 1


def test_twins_are_told_by_their_features() -> None:
    assert architecture.same_features("deit_tiny_patch16_224", "vit_tiny_patch16_224")
    assert not architecture.same_features("resnet18", "resnetblur18")
    assert not architecture.same_features("resnet18", "resnet34")
    # activations that saturate, or values that are not finite, tell nothing
    assert not architecture.same_features("efficientnet_lite0", "tf_efficientnet_lite0")
    assert not architecture.same_features("test_efficientnet_gn", "test_efficientnet_ln")


def test_where_nothing_says_it_the_others_are_named(tmp_path: Path) -> None:
    file = saved(tmp_path, "resnet50")
    with pytest.warns(
        UserWarning, match=r"does not say .*resnet\w*50 .*pretrained_options"
    ) as seen:
        load_backbone(wanted(), file)
    said = str(seen[0].message).removeprefix(str(file))
    assert said.count("50") >= 3
    assert len(said) < 200
    assert said.endswith("model.pretrained_options.architecture=resnet50 says so")
    assert load_backbone(wanted(), file, architecture="resnet50").share == 1  # no warning
    (tmp_path / "weights.pth").rename(tmp_path / "resnet50-0676ba61.pth")
    assert load_backbone(wanted(), tmp_path / "resnet50-0676ba61.pth").share == 1  # no warning
    (tmp_path / "resnet50-0676ba61.pth").rename(tmp_path / "resnet50_blur.pth")
    with pytest.warns(UserWarning, match="does not say"):
        load_backbone(wanted(), tmp_path / "resnet50_blur.pth")


@pytest.mark.parametrize("held", ["iformer_m", "iformer_m_distilled"])
@pytest.mark.parametrize("said", [True, False])
def test_a_second_head_is_no_other_network(held: str, said: bool, tmp_path: Path) -> None:
    """Distilled twins differ in how heads are averaged: features load without a warning."""
    asked = {"iformer_m": "iformer_m_distilled"}.get(held, "iformer_m")
    source, model = filled(held, 64, num_classes=5), made(asked, 64)
    told = {"arch": held} if said else {}
    torch.save({"state_dict": source.state_dict()} | told, tmp_path / "a.pth")
    assert load_backbone(model, tmp_path / "a.pth").share == 1
    source.reset_classifier(0)
    assert torch.equal(features(source, 64), features(model, 64))
    assert fingerprint(held) == fingerprint(asked)


def test_the_user_can_say_it(tmp_path: Path) -> None:
    file = saved(tmp_path, "resnetblur50")
    assert load_backbone(wanted("resnetblur50"), file, architecture="resnetblur50").share == 1
    with pytest.raises(CheckpointError, match="is of resnetblur50, not of resnet50"):
        load_backbone(wanted(), file, architecture="resnetblur50")
    with pytest.raises(
        ValueError, match=r"unknown architecture 'resnetblurr50'.*nearest: resnetblur50"
    ):
        load_backbone(wanted(), file, architecture="resnetblurr50")


def test_a_sample_of_the_table_is_of_this_timm() -> None:
    """Names in the table are timm's, their tensors alike; the whole is made by `alike_made`."""
    groups = architecture._groups()
    assert len(groups) > 50
    for group in groups[:: len(groups) // 6]:
        names = [name for part in group for name in part]
        assert all(timm.is_model(name) for name in names)
        one, other = (fingerprint(name) for name in (names[0], names[-1]))
        assert one[0] == other[0]
        assert one[1] != other[1]


def test_no_name_is_told_by_a_file_without_one(tmp_path: Path) -> None:
    file = saved(tmp_path, "resnet50", {"epoch": 3, "config": {"model": "of my own"}})
    found = Fetched(file, {})
    assert architecture.told(found, torch.load(file, weights_only=True)) is None


def test_a_file_name_that_begins_with_the_architecture_names_the_network(tmp_path: Path) -> None:
    file = saved(tmp_path, "resnet50")
    assert backbone_of(file) is None
    named = file.rename(tmp_path / "resnet50-0676ba61.pth")
    assert backbone_of(named) == {"encoder": "resnet50", "encoder_kwargs": {}}
    other = timm.create_model("tf_efficientnet_lite0", num_classes=0)
    with pytest.raises(CheckpointError, match=r"of tf_efficientnet_lite0's .* like resnet50\n"):
        load_backbone(other, named)
