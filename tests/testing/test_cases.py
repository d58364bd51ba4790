"""Cases: the tiny form of a recipe keeps an encoder of the user's own, unless it is large."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from genlab.testing import Case, case


class Pooled(nn.Module):
    """The image's mean and a linear map of it, of a given width."""

    def __init__(self, in_chans: int = 3, outputs: int = 16, num_classes: int = 0) -> None:
        super().__init__()
        self.map = nn.Linear(in_chans, outputs)
        self.num_features = outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, outputs)."""
        return self.map(x.mean((2, 3)))


class Large(Pooled):
    """Of 2.2 million parameters."""

    def __init__(self, in_chans: int = 3) -> None:
        super().__init__(in_chans)
        self.more = nn.Linear(1480, 1480)


@pytest.fixture
def registered() -> str:
    """The name under which timm makes a `Pooled`."""

    def laws_pooled(pretrained: bool = False, **kwargs: Any) -> Pooled:
        return Pooled(kwargs["in_chans"])

    timm.models.register_model(laws_pooled)
    return "laws_pooled"


def backbone(made: Case) -> str:
    encoder: Any = made.method.encoder
    return type(encoder.backbone).__name__


def test_a_small_encoder_of_the_user_s_stays(registered: str) -> None:
    for name in (registered, f"{__name__}.Pooled"):
        made = case(["simclr/digits"], [f"model.encoder={name}"])
        assert backbone(made) == "Pooled"
        assert made.note == ""


def test_a_large_one_gives_way_and_the_case_says_so() -> None:
    made = case(["simclr/digits"], [f"model.encoder={__name__}.Large"])
    assert backbone(made) == "SmallCNN"
    assert made.note == (
        f"encoder small_cnn in place of {__name__}.Large, which has 2.2 M parameters"
    )


@pytest.mark.parametrize("recipe", ["simclr/digits", "cvae/digits", "wgan_gp/digits"])
def test_without_jsonargparse_the_case_is_the_same(
    recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = case([recipe])
    for name in ("building", "parsing"):
        monkeypatch.delitem(sys.modules, f"genlab.training.{name}")
    monkeypatch.setitem(sys.modules, "jsonargparse", None)
    bare = case([recipe])
    there = bare.method.state_dict()
    assert all(torch.equal(there[name], value) for name, value in made.method.state_dict().items())
    assert dict(bare.method.hparams) == dict(made.method.hparams)
    assert type(bare.data) is type(made.data)
