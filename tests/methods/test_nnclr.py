"""NNCLR: neighbours are looked up before the batch enters. The laws are in tests/laws."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F

from genlab import losses
from genlab.callbacks import CollapseAlarm
from genlab.contracts import Batch
from genlab.data import Digits
from genlab.methods.nnclr import NNCLR
from genlab.training.engine.reseed import Reseed
from tests.callbacks.tiny import trainer
from tests.conftest import TwoRanks
from tests.methods.programs_nnclr import small
from tests.methods.programs_ssl import VIT, pairs


def batch(seed: int = 0) -> Batch:
    return cast(Batch, pairs(8, seed + 1)[seed])


def test_the_loss_is_of_neighbours_and_the_other_views_predictions() -> None:
    method, given = small(VIT, head_norm=None), batch()
    found = method.training_step(given, 0)["loss"]
    z = [method.embed(view) for view in given["views"]]
    n = [method.queue.nearest(one) for one in z]
    p1, p2 = (method.predictor(one) for one in z)
    expected = (losses.batch_nce(n[0], p2, 0.1) + losses.batch_nce(n[1], p1, 0.1)) / 2
    torch.testing.assert_close(found, expected)


def test_no_embedding_finds_itself_and_only_first_views_enter() -> None:
    """NN3: enqueued before the look-up, every first view would be its own neighbour."""
    method, given = small(VIT, head_norm=None, queue_size=8), batch()
    before = method.queue.keys.clone()
    out = method.training_step(given, 0)
    assert torch.equal(method.queue.keys, before)
    assert float(out["neighbour_similarity"]) < 0.999
    method.after_step()
    with torch.no_grad():
        own = F.normalize(method.embed(given["views"][0]), dim=1)
    torch.testing.assert_close(method.queue.keys, own)
    assert float(method.training_step(given, 0)["neighbour_similarity"]) == pytest.approx(1)


def test_embeddings_of_a_step_enter_together_and_validation_moves_nothing() -> None:
    method = small()
    for k in range(2):
        method.training_step(batch(k), k)
    assert int(method.queue.pointer) == 0
    before = copy.deepcopy(method.state_dict())
    method.eval().validation_step(cast(Batch, {"image": torch.rand(4, 1, 8, 8)}), 0)
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    method.after_step()
    assert int(method.queue.pointer) == 16
    method.training_step(batch(), 0)
    method.on_step_skipped()
    assert not method.pending


@pytest.mark.ddp
def test_two_ranks_are_one_process(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.methods.programs_nnclr:stepped", atol=1e-9)


def test_a_queue_that_does_not_fit_is_refused_or_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NN4."""
    data = Digits(batch_size=32, limit=64, val_size=100, views="simclr")
    with pytest.raises(ValueError, match="queue_size 8 is less than the 32 keys of a step"):
        trainer(tmp_path).fit(small(queue_size=8), datamodule=data)
    for size in (64, 65):
        run = trainer(tmp_path / str(size), Reseed(), max_steps=1, limit_val_batches=0)
        run.fit(small(queue_size=size), datamodule=data)
        said = f"queue_size {size} exceeds the 64 training images" in capsys.readouterr().err
        assert said == (size > 64)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"temperature": 0}, "temperature 0 must be above 0"),
        ({"queue_size": 0}, "queue_size 0 must be at least 1"),
        ({"predictor_dims": [8, 7]}, "must end in the same width"),
    ],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        small(**wrong)


@pytest.mark.slow
def test_a_temperature_that_sees_no_differences_collapses_and_the_alarm_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    views: dict[str, Any] = {
        "preset": "simclr", "flip": False, "crop": [0.4, 1.0], "jitter": [0.4, 0.4, 0, 0],
        "grey": 0, "blur": 0,
    }  # fmt: skip
    heads: dict[str, Any] = {"projector_dims": [64, 32], "predictor_dims": [64, 32]}
    for temperature, rings in ((0.2, False), (100.0, True)):
        torch.manual_seed(1)
        method = NNCLR(
            1, 8, "small_cnn", temperature=temperature, queue_size=512, **heads,
            encoder_kwargs={"width": 16}, optimizer={"lr": 2e-3},
        )  # fmt: skip
        data = Digits(batch_size=64, val_size=300, seed=0, views=views)
        run = trainer(tmp_path / str(temperature), Reseed(), CollapseAlarm(), max_epochs=15)
        run.fit(method, datamodule=data)
        assert ("collapse into few directions" in capsys.readouterr().err) == rings
