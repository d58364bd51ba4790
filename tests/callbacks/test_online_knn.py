"""The kNN figure of validation is that of the features, and taking it changes nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

from genlab import metrics
from genlab.callbacks import CollapseAlarm, OnlineKNN
from genlab.data import Digits
from genlab.training.engine.checkpointing import Checkpoints
from genlab.training.engine.reseed import Reseed
from tests.callbacks.programs_watching import digits
from tests.callbacks.tiny import trainer
from tests.conftest import TwoRanks
from tests.methods.programs_ssl import same_state, small


def validate(folder: Path, knn: OnlineKNN, data: Digits, method: Any) -> dict[str, float]:
    run = trainer(folder, knn)
    run.validate(method, datamodule=data, verbose=False)
    return {name: float(value) for name, value in run.callback_metrics.items()}


@pytest.mark.parametrize("most", [10_000, 90])
def test_the_figure_is_that_of_the_metric_on_plain_features(most: int, tmp_path: Path) -> None:
    method, data = small("simclr"), digits(eval_batch_size=64)
    before = copy.deepcopy(method.state_dict())
    found = validate(tmp_path, OnlineKNN(k=5, bank=most), data, method)
    assert same_state(before, method.state_dict()) == []
    metric = metrics.KNN(10, 5)
    train, val = (
        metrics.collect(method.eval(), (data.to_device(b) for b in loader))
        for loader in (data.bank_dataloader("train", most=most), data.bank_dataloader("val"))
    )
    assert len(train.label) == min(most, 320)
    metric.set_bank(train)
    metric.update(*val)
    expected = {f"val/{name}": float(value) for name, value in metric.compute().items()}
    assert found == pytest.approx(expected)
    assert found["val/knn_top1"] > 0.5
    assert set(found) == {"val/knn_top1", "val/knn_top5"}


def test_a_small_bank_all_votes(tmp_path: Path) -> None:
    assert (
        validate(tmp_path, OnlineKNN(k=200, bank=50), digits(), small("byol"))["val/knn_top1"] > 0.1
    )


def test_it_selects_the_best_checkpoint_and_training_does_not_notice(tmp_path: Path) -> None:
    states = []
    for callbacks in ([], [OnlineKNN(), CollapseAlarm()]):
        method, keep = small("moco"), Checkpoints("val/knn_top1" if callbacks else None, "max")
        run = trainer(tmp_path / str(len(callbacks)), Reseed(), *callbacks, keep)
        run.fit(method, datamodule=digits())
        states.append(method.state_dict())
    assert same_state(*states) == []
    assert 0.5 < keep.best["score"] <= 1
    assert keep.best_path is not None


def test_two_ranks_are_one_process(two_ranks: TwoRanks) -> None:
    """All that is watched, and the probe's weights; 101 images and a bank of 97 make odd shares."""
    one, two = two_ranks.results("tests.callbacks.programs_watching:watched")
    assert set(one["figures"]) == {
        "val/knn_top1", "val/knn_top5", "val/probe_top1", "val/embedding_std", "val/effective_rank",
        "val/rankme", "val/lidar",
    }  # fmt: skip
    for other in two:
        torch.testing.assert_close(other, one, rtol=0, atol=1e-4)
    torch.testing.assert_close(two[1], two[0], rtol=0, atol=0)


def without_labels(*splits: str) -> Digits:
    data = digits()
    data.setup()
    for split in splits:
        source, rows = data._parts[split]
        source = copy.copy(source)
        source.labels = torch.full_like(source.labels, -1)
        data._parts[split] = source, rows
    return data


@pytest.mark.parametrize("splits", [("train", "val"), ("val",), ("train",)])
def test_without_labels_it_is_silent_after_one_line(
    splits: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run goes on, nothing is selected, and the other figures are there."""
    keep = Checkpoints("val/knn_top1", "max")
    run = trainer(tmp_path, OnlineKNN(), CollapseAlarm(), keep)
    run.fit(small("simclr"), datamodule=without_labels(*splits))
    assert capsys.readouterr().err == "no labels, no val/knn_top1; last.ckpt is the result\n"
    assert [f.name for f in (tmp_path / "checkpoints").iterdir()] == ["last.ckpt"]
    assert set(run.callback_metrics) >= {"val/embedding_std", "val/effective_rank"}
    assert "val/knn_top1" not in run.callback_metrics


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"k": 0}, "k 0"), ({"temperature": 0}, "temperature 0"), ({"bank": 0}, "bank")],
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        OnlineKNN(**wrong)
