"""The chart pairs each validation's accuracy with the loss since the one before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genlab.callbacks import LossAgainstProbe, OnlineKNN, loss_against_probe
from genlab.callbacks.loss_against_probe import chart, points
from genlab.metrics import StepMetrics
from genlab.training.tracking.csv_log import CSVLog
from tests.callbacks.programs_watching import digits
from tests.callbacks.tiny import trainer
from tests.methods.programs_ssl import small


def test_points_are_pairs_of_a_table() -> None:
    rows = [
        {"step": "3", "train/loss": "4", "val/knn_top1": ""},
        {"step": "7", "train/loss": "2", "val/knn_top1": ""},
        {"step": "9", "train/loss": "", "val/knn_top1": "0.5"},
        {"step": "9", "train/loss": "", "val/knn_top1": "0.6"},  # no loss since
        {"step": "11", "train/loss": "nan", "val/knn_top1": ""},
        {"step": "13", "train/loss": "1", "val/knn_top1": "0.75"},
    ]
    assert points(rows, "train/loss", "val/knn_top1") == [(10, 3.0, 0.5), (14, 1.0, 0.75)]
    assert points(rows, "train/loss", "val/other") == []
    assert points(rows, "val/loss", "val/knn_top1") == []


def test_a_chart_is_drawn_at_the_end_of_a_run_from_its_table(tmp_path: Path) -> None:
    """Three validations, kNN alone; a run without a table, or with one validation, has none."""
    log = CSVLog(tmp_path / "metrics.csv")
    watchers = StepMetrics(), OnlineKNN(), LossAgainstProbe()
    options: dict[str, Any] = {"enable_checkpointing": False, "max_epochs": 3}
    run = trainer(tmp_path / "a", *watchers, logger=log, **options)
    run.fit(small("simclr"), datamodule=digits())
    found = points(log.rows(), "train/loss", "val/knn_top1")
    assert [step for step, _, _ in found] == [10, 20, 30]
    with Image.open(tmp_path / "a/pictures/loss_probe.png") as picture:
        expected = chart({"val/knn_top1": found}, "train/loss", "SimCLR")
        assert np.array_equal(np.asarray(picture), expected)
    log = CSVLog(tmp_path / "once.csv")
    once = options | {"max_epochs": 1}
    run = trainer(
        tmp_path / "b", StepMetrics(), OnlineKNN(), LossAgainstProbe(), logger=log, **once
    )
    run.fit(small("simclr"), datamodule=digits())
    assert not (tmp_path / "b/pictures").exists()


def test_dots_lie_where_they_belong() -> None:
    """Falling loss and rising accuracy leave two corners of the axes empty."""
    rising = [(step, 5.0 - step, 0.1 * step) for step in range(5)]
    picture = chart({"val/knn_top1": rising}, "train/loss", "")
    assert picture.shape == (400, 600, 3)
    strong = (picture.max(2).astype(int) - picture.min(2) > 60)[:, :500]  # the dots' colours
    rows, columns = np.nonzero(strong)
    upper, right = rows < rows.mean(), columns > columns.mean()
    assert upper[~right].any()
    assert (rows[columns == columns.min()] < 60).all()
    assert chart({"a": rising, "$b$": rising[:2]}, "train/loss", "$c").shape == (400, 600, 3)


def test_the_curves_of_two_accuracies_have_lines_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the axes and in the legend, under the recipe's name."""
    charts: list[Any] = []
    made = loss_against_probe.figure

    def kept(*size: Any) -> Any:
        charts.append(made(*size))
        return charts[-1]

    monkeypatch.setattr(loss_against_probe, "figure", kept)
    rising = [(step, 5.0 - step, 0.1 * step) for step in range(5)]
    chart({"val/knn_top1": rising, "val/probe_top1": rising}, "train/loss", "simclr/digits")
    axes = charts[0].axes[0]
    drawn = [line.get_linestyle() for line in axes.lines]
    legend = axes.get_legend()
    assert len(set(drawn)) == 2
    assert [line.get_linestyle() for line in legend.get_lines()] == drawn
    assert [text.get_text() for text in legend.get_texts()] == ["val/knn_top1", "val/probe_top1"]
    assert axes.get_title() == "simclr/digits"


def test_no_accuracy_is_refused() -> None:
    with pytest.raises(ValueError, match=r"LossAgainstProbe\.accuracies"):
        LossAgainstProbe(accuracies=[])
