"""What the classifier reports in validation and test."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from genlab.data import Digits
from tests.callbacks.tiny import trainer
from tests.conftest import TwoRanks
from tests.methods.test_classifier_tricks import classifier


def test_validation_reports_the_mean_over_labelled_images(tmp_path: Path) -> None:
    """Batches of unlike size: exact, with the keys that other methods use."""
    data = Digits(batch_size=64, val_size=100, eval_batch_size=30, seed=0)
    method = classifier(loss="focal", label_smoothing=0.2, tta="hflip")
    fit = trainer(tmp_path)
    fit.validate(method, datamodule=data, verbose=False)
    shown = dict(fit.callback_metrics)
    source, rows = data._parts["val"]
    (everything,) = source.read([rows])
    method.eval()
    with torch.no_grad():
        logits = method.logits(everything["image"].float() / 255)
    wanted = F.cross_entropy(logits, everything["label"])
    torch.testing.assert_close(shown["val/loss"], wanted)
    torch.testing.assert_close(
        shown["val/accuracy"], (logits.argmax(1) == everything["label"]).float().mean()
    )
    keys = {"loss", "accuracy", "top5", "precision", "recall", "f1", "ece"}
    assert set(shown) == {f"val/{key}" for key in keys}


def test_the_test_reports_every_class(tmp_path: Path) -> None:
    data, method = Digits(val_size=100, eval_batch_size=70, seed=0), classifier()
    assert method.class_report.per_class() == {}
    fit = trainer(tmp_path)
    fit.test(method, datamodule=data, verbose=False)
    report = method.class_report.per_class()
    assert sum(report["images"]) == len(data._parts["test"][1])
    right = sum(r * n for r, n in zip(report["recall"], report["images"], strict=True))
    accuracy = fit.callback_metrics["test/accuracy"].item()
    assert right / sum(report["images"]) == pytest.approx(accuracy, abs=1e-6)
    mean = {name: sum(report[name]) / 10 for name in ("recall", "precision")}
    for name, value in mean.items():
        assert fit.callback_metrics[f"test/{name}"].item() == pytest.approx(value, abs=0.1)
    assert "test/auroc" in fit.callback_metrics


def test_probabilities_of_binary_focal_are_sigmoids() -> None:
    logits = torch.randn(4, 10)
    assert torch.equal(classifier(loss="binary_focal").probabilities(logits), logits.sigmoid())
    assert torch.equal(classifier(loss="focal").probabilities(logits), logits.softmax(1))


@pytest.mark.ddp
def test_two_ranks_report_as_one_process(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.methods.programs_classifier:reported")
