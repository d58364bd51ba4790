"""Which of several copies of a network in a file loads; what nothing tells apart is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from genlab.checkpoints import load_backbone
from genlab.errors import CheckpointError
from tests.checkpoints.foreign import layouts_made as made
from tests.checkpoints.foreign.test_layouts import (
    LAYOUTS,
    MODELS,
    assert_refused,
    copies,
    expected,
    features,
    file,
)

__all__ = ["copies", "file"]  # fixtures


@pytest.mark.parametrize(
    ("layout", "take", "copy"),
    [
        ("timm train", "ema", 1),
        ("timm train", "online", 0),
        ("MoCo v3", "ema", 1),
        ("MoCo v3", "teacher", 1),
        ("BYOL (lucidrains)", "ema", 1),
        ("BYOL (two networks)", "ema", 1),
        ("DINO (teacher)", "teacher", 0),
        ("DINO (teacher)", "student", 1),
        ("solo-learn", "ema", 1),
        ("Lightning average", "online", 1),
        ("genlab", "ema", 1),
        ("genlab average", "ema", 0),
        ("genlab average", "online", 1),
        ("SWA", "ema", 1),
    ],
)
def test_take_chooses_the_copy(layout: str, take: str, copy: int, copies: Any, file: Path) -> None:
    torch.save(LAYOUTS["vit", layout](*copies["vit"]), file)
    model = MODELS["vit"](num_classes=0)
    report = load_backbone(model, str(file), take=take)
    assert torch.equal(features(model), expected("vit", copies["vit"][copy]))
    assert "copy" in str(report)


def test_a_copy_that_is_not_there_is_refused(copies: Any, file: Path) -> None:
    torch.save({"state_dict": copies["vit"][0]}, file)
    with pytest.raises(CheckpointError, match="take='ema'"):
        load_backbone(MODELS["vit"](num_classes=0), str(file), take="ema")


def test_prefix_by_hand(copies: Any, file: Path) -> None:
    torch.save(LAYOUTS["vit", "MoCo v3"](*copies["vit"]), file)
    model = MODELS["vit"](num_classes=0)
    load_backbone(model, str(file), prefix="module.momentum_encoder")
    assert torch.equal(features(model), expected("vit", copies["vit"][1]))
    with pytest.raises(CheckpointError, match="no names with prefix x"):
        load_backbone(model, str(file), prefix="x")


ATTRIBUTES = ["net", "model", "encoder", "backbone", "f", "body", "trunk", "resnet", "a", "m"]


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_the_choice_depends_on_no_hash_seed(name: str, copies: Any, file: Path) -> None:
    """Over ten names a choice by the order of a set would go wrong for some."""
    first, second = copies["vit"]
    for slow in ("ema", "swa", "avg"):
        torch.save(made.under(f"{slow}_{name}.", second) | made.under(f"{name}.", first), file)
        model = MODELS["vit"](num_classes=0)
        report = load_backbone(model, file)
        assert report.prefix == f"{name}."
        assert report.layout == "plain, its online copy"
    average = made.under(f"{name}.", first) | made.under(f"{name}_ema.", second)
    torch.save(made.lightning(average, live_weights=made.under(f"{name}.", second)), file)
    load_backbone(model, file)
    assert torch.equal(features(model), expected("vit", first))


@pytest.mark.parametrize(
    ("content", "one", "other"),
    [
        (lambda a, b: {"m": made.under("a.", a) | made.under("b.", b)}, "m/a.", "m/b."),
        (lambda a, b: {"first": a, "second": b}, "first/", "second/"),
        (lambda a, b: a | made.under("other.", b), "", "other."),
        (lambda a, b: {"ema": made.under("a.", a) | made.under("b.", b)}, "ema/a.", "ema/b."),
    ],
)
def test_equal_networks_are_refused_by_name(
    content: Callable[..., Any], one: str, other: str, copies: Any, file: Path
) -> None:
    """The refusal's own words lead to either of them."""
    torch.save(content(*copies["vit"]), file)
    message = assert_refused(MODELS["vit"](num_classes=0), file, "several networks that fit")
    assert f"give prefix={one!r} or {other!r}" in message
    for prefix, copy in zip((one, other), copies["vit"], strict=True):
        model = MODELS["vit"](num_classes=0)
        assert load_backbone(model, file, prefix=prefix).prefix == prefix
        assert torch.equal(features(model), expected("vit", copy))


def test_one_network_under_two_names_is_no_choice(copies: Any, file: Path) -> None:
    state, again = copies["vit"][0], {n: v.clone() for n, v in copies["vit"][0].items()}
    torch.save(made.under("a.", state) | made.under("b.", again), file)
    model = MODELS["vit"](num_classes=0)
    assert load_backbone(model, file).layout == "plain, the only copy"
    assert torch.equal(features(model), expected("vit", state))


def test_equal_networks_of_foreign_names_are_refused(file: Path) -> None:
    """Also where timm's conversion is what makes them fit."""
    size: dict[str, Any] = {"conv_mlp": False, "depths": (1, 1, 1, 1), "dims": (8, 16, 16, 16)}
    timms = timm.create_model("convnext_atto", **size).state_dict()
    a, b = ({made.original_convnext(n): v + i for n, v in timms.items()} for i in (1, 2))
    torch.save({"net_a": a, "net_b": b}, file)
    model = timm.create_model("convnext_atto", num_classes=0, **size)
    assert_refused(model, file, "give prefix='net_a/' or 'net_b/'")
    assert load_backbone(model, file, prefix="net_b/").share == 1
