"""RankMe and LiDAR at validations are those of the metrics, and taking them changes nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.augment import Views
from genlab.callbacks import EmbeddingRanks
from genlab.data import Digits
from genlab.metrics import LiDAR, rankme
from tests.callbacks.programs_watching import digits
from tests.callbacks.tiny import Line, trainer
from tests.methods.programs_ssl import same_state, small


def validate(folder: Path, ranks: EmbeddingRanks, data: Digits, method: Any) -> dict[str, float]:
    run = trainer(folder, ranks)
    run.validate(method, datamodule=data, verbose=False)
    return {name: float(value) for name, value in run.callback_metrics.items()}


@pytest.mark.parametrize("size", [512, 17])
def test_they_are_those_of_the_metrics(size: int, tmp_path: Path) -> None:
    """Also where the first 40 images end within a batch."""
    method, data = small("simclr"), digits(eval_batch_size=size)
    before = copy.deepcopy(method.state_dict())
    found = validate(tmp_path, EmbeddingRanks(images=40, views=4), data, method)
    assert same_state(before, method.state_dict()) == []
    data.eval_batch_size = 512
    (batch,) = (data.to_device(raw) for raw in data.bank_dataloader("val"))
    method.eval()
    views = data.views
    assert isinstance(views, Views)
    first: Any = {key: batch[key][:40] for key in ("image", "index")}
    metric = LiDAR(method.embed(first["image"]).shape[1])
    with torch.no_grad():
        metric.update(torch.stack([method.embed(views.fixed(first, k)) for k in range(4)], 1))
        expected = {"val/rankme": float(rankme(method.embed(batch["image"])))}
    expected["val/lidar"] = float(metric.compute())
    assert found == pytest.approx(expected, rel=1e-3)
    assert 1 < found["val/lidar"] < 40


def test_training_does_not_notice(tmp_path: Path) -> None:
    """Without `Reseed`: a draw from the global generator would show."""
    states = []
    for callbacks in ([], [EmbeddingRanks(images=20)]):
        method = small("simclr")
        torch.manual_seed(7)
        run = trainer(tmp_path / str(len(callbacks)), *callbacks, enable_checkpointing=False)
        run.fit(method, datamodule=digits())
        states.append(method.state_dict())
    assert same_state(*states) == []


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"images": 0}, {"val/rankme"}),
        ({"widest": 1}, set()),
        ({"images": 9}, {"val/rankme", "val/lidar"}),
        ({}, {"val/rankme"}),
    ],
)
def test_what_is_not_cheap_can_be_left_out(
    options: dict[str, int], names: set[str], tmp_path: Path
) -> None:
    assert set(validate(tmp_path, EmbeddingRanks(**options), digits(), small("simclr"))) == names


def test_data_without_views_and_single_images_have_no_lidar(tmp_path: Path) -> None:
    for data in (digits(views=None), digits(val_size=1)):
        found = validate(tmp_path, EmbeddingRanks(images=9), data, small("simclr"))
        assert set(found) == {"val/rankme"}


def test_methods_without_embeddings_are_left_alone(tmp_path: Path) -> None:
    run = trainer(tmp_path, EmbeddingRanks(), enable_checkpointing=False)
    run.fit(Line(), datamodule=Digits(batch_size=32, limit=320, val_size=100))
    assert set(run.callback_metrics) == {"val/loss"}


@pytest.mark.parametrize("wrong", [{"images": 1}, {"views": 1}, {"widest": 0}])
def test_what_is_out_of_range_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"EmbeddingRanks.{next(iter(wrong))}"):
        EmbeddingRanks(**wrong)
