"""What a method demands of data and trainer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from genlab.data import Digits
from genlab.methods.dinov2 import DINOv2
from genlab.methods.flow_matching import FlowMatching
from genlab.methods.made import MADE
from genlab.methods.moco import MoCo
from genlab.methods.pixel_prior import PixelPrior
from genlab.methods.rotation import Rotation
from genlab.methods.simclr import SimCLR
from genlab.methods.supcon import SupCon
from genlab.methods.vae import VAE
from genlab.training import demands
from tests.methods.programs_masked import VIT
from tests.methods.programs_ssl import CNN

DENSE: dict[str, Any] = {"channels": 2, "image_size": 1, "network": "mlp", "preprocess": "none"}


def test_some_images_without_a_label_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data: Any = Digits(batch_size=32, limit=160, val_size=100, views="supcon")
    lab: Any = SimpleNamespace(model=SupCon(**CNN), data=data)
    demands.refuse_unlabelled(lab)
    monkeypatch.setattr(type(data), "labelled", lambda *_: len(data.splits()["train"]) - 7)
    with pytest.raises(ValueError, match="SupCon requires a label of every image; 7 have none"):
        demands.refuse_unlabelled(lab)
    lab.model = SimCLR(**CNN)
    demands.refuse_unlabelled(lab)


def test_views_are_refused_where_they_would_be_thrown_away() -> None:
    data: Any = Digits(batch_size=32, val_size=100, views="wu")
    lab: Any = SimpleNamespace(model=Rotation(**CNN), data=data)
    with pytest.raises(ValueError, match=r"Rotation cannot be combined with data\.views"):
        demands.refuse_views(lab)
    lab.data = Digits(batch_size=32, val_size=100)
    demands.refuse_views(lab)
    lab.model, lab.data = SimpleNamespace(), data
    demands.refuse_views(lab)
    lab.model = VAE(1, 8)
    with pytest.raises(ValueError, match=r"VAE cannot be combined with data\.views"):
        demands.refuse_views(lab)


LEVELS: dict[str, Any] = {
    "MADE": lambda levels: MADE(1, 8, levels, [8]),
    "PixelPrior": lambda levels: PixelPrior(1, 8, levels, width=8, depth=1, heads=1),
    "VAE": lambda levels: VAE(
        1, 8, decoder="pixelcnn", decoder_kwargs={"levels": levels, "width": 4, "depth": 1}
    ),
}


@pytest.mark.parametrize("name", LEVELS)
def test_images_between_the_levels_of_a_model_are_refused(name: str) -> None:
    """Digits have 17 grey values, as bytes."""
    grey, binary = Digits(batch_size=16), Digits(batch_size=16, binarize="dynamic")
    words = f"{name} of 2 levels cannot be combined with images of other values, such as 0"
    for levels, data in ((2, binary), (17, grey), (256, grey)):
        demands.refuse_other_levels(
            cast(Any, SimpleNamespace(model=LEVELS[name](levels), data=data))
        )
    with pytest.raises(ValueError, match=words):
        demands.refuse_other_levels(cast(Any, SimpleNamespace(model=LEVELS[name](2), data=grey)))
    with pytest.raises(ValueError, match="of 16 levels"):
        demands.refuse_other_levels(cast(Any, SimpleNamespace(model=LEVELS[name](16), data=grey)))
    demands.refuse_other_levels(cast(Any, SimpleNamespace(model=VAE(1, 8), data=grey)))


def test_accumulated_batches_are_warned_of_where_a_method_has_chunks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer = SimpleNamespace(accumulate_grad_batches=2)
    lab: Any = SimpleNamespace(model=SimCLR(**CNN), trainer=trainer)
    demands.say_accumulation(lab)
    assert capsys.readouterr().err.count("model.chunks divides a batch") == 1
    lab.model = SimpleNamespace()
    demands.say_accumulation(lab)
    lab.model, trainer.accumulate_grad_batches = SimCLR(**CNN), 1
    demands.say_accumulation(lab)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "options", "warns"),
    [
        (MoCo, CNN | {"negatives": "batch"}, True),
        (MoCo, CNN | {"queue_size": 64}, False),
        (DINOv2, VIT | {"targets": "sinkhorn", "koleo_weight": 0}, True),
        (DINOv2, VIT | {"targets": "centring"}, True),
        (DINOv2, VIT | {"targets": "centring", "koleo_weight": 0}, False),
        (VAE, {"objective": "tc"}, True),
        (VAE, {}, False),
        (FlowMatching, DENSE | {"pairing": "transport"}, True),
        (FlowMatching, DENSE, False),
    ],
)
def test_accumulated_batches_are_warned_of_where_a_loss_compares_images(
    method: Any, options: dict[str, Any], warns: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = SimpleNamespace(accumulate_grad_batches=2)
    demands.say_accumulation(cast(Any, SimpleNamespace(model=method(**options), trainer=trainer)))
    said = capsys.readouterr().err
    assert ("compares the images of a batch" in said) == warns
    assert "chunks" not in said
