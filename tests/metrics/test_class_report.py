"""The report of a classifier: what it counts, resets and keeps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from genlab.metrics import ClassReport
from genlab.metrics.class_report import class_report_of


def test_the_loss_is_the_cross_entropy_of_labelled_images_whatever_the_batches() -> None:
    logits, label = torch.randn(50, 7), torch.randint(7, (50,))
    label[::9] = -1
    report = ClassReport(7)
    for part, of_part in zip(logits.split(20), label.split(20), strict=True):
        report.update("val", part, of_part)
    found = report.compute("val")
    torch.testing.assert_close(found["val/loss"], F.cross_entropy(logits, label, ignore_index=-1))
    known = label >= 0
    right = (logits.argmax(1) == label)[known].float().mean()
    torch.testing.assert_close(found["val/accuracy"], right)


def test_a_split_does_not_remember_the_one_before() -> None:
    report, label = ClassReport(3), torch.tensor([0, 1, 2, 0])
    report.update("val", 9 * F.one_hot((label + 1) % 3, 3), label)  # all wrong
    assert report.compute("val")["val/accuracy"] == 0
    report.update("val", 9 * F.one_hot(label, 3), label)
    found = report.compute("val")
    assert found["val/accuracy"] == 1
    assert found["val/loss"] < 0.01


def test_a_test_keeps_the_confusions_and_a_validation_does_not_touch_them() -> None:
    report = ClassReport(3)
    assert report.per_class() == {}
    label, said = torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1, 1, 0])
    report.update("test", 9 * F.one_hot(said, 3), label)
    assert "test/confusion" not in report.compute("test")
    assert report.confusion is not None
    assert report.confusion.tolist() == [[2, 0, 0], [0, 1, 0], [0, 1, 0]]
    report.update("val", torch.zeros(1, 3), torch.tensor([0]))
    report.compute("val")
    assert report.per_class()["recall"] == pytest.approx([1, 1, 0])
    assert report.per_class()["images"] == [2, 1, 1]


def test_probabilities_may_be_others_than_the_softmax() -> None:
    """Sigmoids of a binary loss: accuracy is theirs, the loss the cross entropy of the logits."""
    report, label = ClassReport(2), torch.tensor([0])
    logits, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.1, 0.9]])
    report.update("val", logits, label, other)
    found = report.compute("val")
    assert found["val/accuracy"] == 0
    torch.testing.assert_close(found["val/loss"], F.cross_entropy(logits, label))


def test_it_is_found_among_a_methods_parts() -> None:
    method = nn.Module()
    assert class_report_of(method) is None
    method.anything = ClassReport(2)
    assert class_report_of(method) is method.anything
