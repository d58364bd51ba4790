"""Figures of a classifier against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as reference
from torch import Tensor

from genlab.metrics import AUROC, classification_metrics, per_class
from tests.conftest import TwoRanks


def made_up(n: int = 600, classes: int = 7, spread: float = 2.0) -> tuple[Tensor, Tensor]:
    """Probabilities that know something of the labels: (n, K), (n,)."""
    generator = torch.Generator().manual_seed(3)
    label = (classes * torch.rand(n, generator=generator).square()).long()  # rare and frequent
    logits = spread * torch.randn(n, classes, generator=generator)
    logits[torch.arange(n), label] += spread
    return logits.softmax(1), label


def figures(split: str = "test") -> dict[str, Tensor]:
    p, label = made_up()
    found = classification_metrics(7, split)
    for part, of_part in zip(p.split(250), label.split(250), strict=True):
        found.update(part, of_part)
    return {name.removeprefix(f"{split}/"): value for name, value in found.compute().items()}


def test_all_figures_equal_scikit_learns() -> None:
    p, label = (x.numpy() for x in made_up())
    said, found = p.argmax(1), figures()
    average = {"average": "macro", "zero_division": 0}
    wanted = {
        "accuracy": reference.accuracy_score(label, said),
        "top5": reference.top_k_accuracy_score(label, p, k=5),
        "precision": reference.precision_score(label, said, **average),
        "recall": reference.recall_score(label, said, **average),
        "f1": reference.f1_score(label, said, **average),
        "auroc": np.mean([reference.roc_auc_score(label == k, p[:, k]) for k in range(7)]),
    }
    for name, value in wanted.items():
        tolerance = 2e-4 if name == "auroc" else 1e-6
        assert found[name].item() == pytest.approx(value, abs=tolerance), name
    assert set(found) == {*wanted, "ece", "confusion"}
    np.testing.assert_array_equal(found["confusion"], reference.confusion_matrix(label, said))


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    p, label = made_up()
    confidence, right = p.max(1).values.numpy(), (p.argmax(1) == label).numpy()
    bins, gap = np.minimum((confidence * 15).astype(int), 14), 0.0
    for b in range(15):
        if (inside := bins == b).any():
            gap += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    assert figures()["ece"].item() == pytest.approx(gap, abs=1e-5)


def test_per_class_figures_equal_scikit_learns() -> None:
    p, label = made_up()
    found = per_class(figures()["confusion"])
    precision, recall, f1, images = reference.precision_recall_fscore_support(
        label, p.argmax(1), labels=range(7), zero_division=0
    )
    for name, wanted in (
        ("images", images), ("precision", precision), ("recall", recall), ("f1", f1),
    ):  # fmt: skip
        np.testing.assert_allclose(found[name], wanted, rtol=1e-6, err_msg=name)


def test_validation_leaves_out_what_only_the_test_needs() -> None:
    assert set(classification_metrics(7)) == {
        f"val/{name}" for name in ("accuracy", "precision", "recall", "f1", "ece", "top5")
    }
    assert "val/top5" not in classification_metrics(5)


def test_an_unknown_label_counts_for_nothing() -> None:
    p, label = made_up(50)
    more = torch.cat([p, p[:20]]), torch.cat([label, torch.full((20,), -1)])
    with_unknown, without = classification_metrics(7, "test"), classification_metrics(7, "test")
    with_unknown.update(*more)
    without.update(p, label)
    torch.testing.assert_close(with_unknown.compute(), without.compute())


@pytest.mark.parametrize("spread", [0.3, 1.0, 10.0])
def test_auroc_of_saturated_and_of_flat_scores(spread: float) -> None:
    p, label = made_up(3000, 4, spread)
    metric = AUROC(4)
    metric.update(p, label)
    wanted = np.mean([reference.roc_auc_score(label == k, p[:, k]) for k in range(4)])
    assert metric.compute().item() == pytest.approx(wanted, abs=2e-4)


def test_auroc_leaves_out_classes_that_do_not_occur() -> None:
    """Class 1 is separated perfectly from class 0; classes 2 and 3 have no images."""
    p = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.2, 0.6, 0.1, 0.1]])
    metric = AUROC(4)
    metric.update(p, torch.tensor([0, 1]))
    assert metric.compute() == 1
    metric.update(p, torch.tensor([1, 0]))
    assert metric.compute() == 0.5  # right and wrong once each


@pytest.mark.ddp
def test_two_ranks_of_unequal_size_equal_one_process(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.metrics.programs_classification:of_a_test")
