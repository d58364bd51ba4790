"""The alarm rings when embeddings become alike, once, and for no healthy run."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from genlab import recipes
from genlab.callbacks import CollapseAlarm
from genlab.callbacks.collapse_alarm import BEGUN, OVER
from genlab.training.building import build

pytestmark = pytest.mark.filterwarnings("ignore:The number of training batches")


def said(alarm: CollapseAlarm, capture: Any, step: int, std: float, rank: float) -> str:
    """What it prints of embeddings of 10,000 images in 64 dimensions."""
    alarm._judge(SimpleNamespace(global_step=step, is_global_zero=True), std, rank, 64, 10_000)  # type: ignore[arg-type]
    return str(capture.readouterr().err)


def test_one_line_when_it_begins_and_one_when_it_is_over(
    capsys: pytest.CaptureFixture[str],
) -> None:
    alarm = CollapseAlarm()
    assert said(alarm, capsys, 10, 0.01, 2.0) == ""  # not trained yet
    assert said(alarm, capsys, 100, 0.12, 40.0) == ""
    begun = said(alarm, capsys, 200, 0.12, 17.0)
    assert BEGUN in begun
    assert "step 200" in begun
    assert "effective rank 17.0 (at its highest 40.0, D = 64)" in begun
    assert "standard deviation 0.120 (evenly spread 0.125)" in begun
    assert "predictor" in begun
    assert said(alarm, capsys, 300, 0.01, 1.0) == ""  # known
    assert said(alarm, capsys, 400, 0.12, 19.0) == ""  # just above the threshold
    assert OVER in said(alarm, capsys, 500, 0.12, 30.0)
    assert BEGUN in said(alarm, capsys, 600, 0.05, 30.0)  # by the standard deviation alone


def test_few_directions_from_the_beginning_are_no_health(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without an earlier rank to compare with."""
    assert said(CollapseAlarm(), capsys, 100, 0.125, 8.1) == ""
    assert BEGUN in said(CollapseAlarm(), capsys, 100, 0.125, 7.9)


def test_a_resumed_run_compares_with_what_it_had(capsys: pytest.CaptureFixture[str]) -> None:
    before, after = CollapseAlarm(), CollapseAlarm()
    said(before, capsys, 100, 0.12, 40.0)
    after.load_state_dict(before.state_dict())
    assert BEGUN in said(after, capsys, 200, 0.12, 17.0)


SHORT = [
    "trainer.max_epochs=20",
    "trainer.callbacks=[{class_path: CollapseAlarm}]",
    "checkpoint.monitor=null",
    "model.encoder_kwargs={width: 8}",
]


def alarm_of(name: str, folder: Path, *words: str) -> CollapseAlarm:
    """After 20 epochs of the recipe on digits, with a quarter of its channels: 4 to 5 s."""
    lab = build(recipes.resolve([f"{name}/digits"], [*SHORT, *words]), folder)
    lab.trainer.fit(lab.model, datamodule=lab.data)
    (alarm,) = (c for c in lab.trainer.callbacks if isinstance(c, CollapseAlarm))  # type: ignore[attr-defined]
    return alarm


@pytest.mark.parametrize(
    ("name", "removed"),
    [
        ("byol", "model.predictor_dims=null"),
        pytest.param("simsiam", "model.stop_gradient=false", marks=pytest.mark.slow),
    ],
)
def test_a_method_without_what_keeps_it_from_collapse_trips_it(
    name: str, removed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert alarm_of(name, tmp_path / "without", removed).collapsed
    assert capsys.readouterr().err.count(BEGUN) == 1
    assert not alarm_of(name, tmp_path / "with").collapsed
    assert BEGUN not in capsys.readouterr().err


@pytest.mark.parametrize("wrong", [{"std_share": 1.5}, {"rank_share": -0.1}, {"after_steps": -1}])
def test_what_is_out_of_range_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"CollapseAlarm.{next(iter(wrong))}"):
        CollapseAlarm(**wrong)


def test_a_validation_of_weights_that_are_not_finite_ends(tmp_path: Path) -> None:
    """All callbacks of self-supervised recipes, as in simclr/digits."""
    recipe = recipes.resolve(["simclr/digits"], ["trainer.limit_train_batches=1"])
    lab = build(recipe, tmp_path)
    with torch.no_grad():
        for parameter in lab.model.parameters():
            parameter.fill_(math.nan)
    lab.trainer.validate(lab.model, datamodule=lab.data, verbose=False)
    assert math.isnan(float(lab.trainer.callback_metrics["val/effective_rank"]))
