"""Losses on a network's own predictions, against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from genlab.losses import class_fairness, pseudo_label_nll, sharpen


def test_masked_images_stay_in_the_mean() -> None:
    logits = torch.randn(4, 3, requires_grad=True)
    target = torch.tensor([2, 0, 1, 1])
    one = pseudo_label_nll(logits, target, torch.tensor([0.0, 1.0, 0.0, 0.0]))
    torch.testing.assert_close(one, F.cross_entropy(logits[1:2], target[1:2]) / 4)
    none = pseudo_label_nll(logits, target, torch.zeros(4))
    assert none.item() == 0
    none.backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros(4, 3))


def test_soft_targets_of_one_class_are_hard_ones() -> None:
    logits, target, weight = torch.randn(5, 3), torch.tensor([0, 1, 2, 2, 0]), torch.rand(5)
    soft = F.one_hot(target, 3).float()
    torch.testing.assert_close(
        pseudo_label_nll(logits, soft, weight), pseudo_label_nll(logits, target, weight)
    )


def test_no_gradient_goes_into_the_target() -> None:
    target = torch.rand(5, 3).requires_grad_()
    logits = torch.randn(5, 3, requires_grad=True)
    pseudo_label_nll(logits, target, torch.ones(5)).backward()
    assert target.grad is None


def test_sharpening_divides_the_logits() -> None:
    logits = torch.randn(6, 4)
    torch.testing.assert_close(sharpen(logits.softmax(1), 0.4), (logits / 0.4).softmax(1))
    assert torch.equal(sharpen(torch.eye(3), 0.5), torch.eye(3))


def slow_fairness(rows: list[list[float]], expected: list[float], counted: list[float]) -> float:
    """One class at a time."""
    k, n = len(expected), len(rows)
    said = [sum(row.index(max(row)) == c for row in rows) / n for c in range(k)]
    mean = [sum(row[c] for row in rows) / n for c in range(k)]
    ours = [m / s if s else 0.0 for m, s in zip(mean, said, strict=True)]
    theirs = [e / c if c else 0.0 for e, c in zip(expected, counted, strict=True)]
    terms = zip(ours, theirs, strict=True)
    return sum(t / sum(theirs) * math.log(o / sum(ours)) for o, t in terms if o)


def test_fairness_is_its_definition() -> None:
    p = (3 * torch.randn(40, 4, dtype=torch.float64)).softmax(1)
    expected, counted = [0.4, 0.3, 0.2, 0.1], [0.5, 0.2, 0.3, 0.0]
    running = [torch.tensor(x, dtype=torch.float64) for x in (expected, counted)]
    for used in (torch.rand(40) < 0.5, p.argmax(1) < 3):
        found = class_fairness(p, used.double(), *running)
        slow = slow_fairness(p[used].tolist(), expected, counted)
        assert found.item() == pytest.approx(slow, rel=1e-9)
    assert class_fairness(p, torch.zeros(40), *running).item() == 0


def test_fairness_has_a_gradient_through_the_images_in_use_alone() -> None:
    logits = torch.randn(12, 4, requires_grad=True)
    used = torch.arange(12) % 2
    class_fairness(logits.softmax(1), used, torch.rand(4), torch.rand(4)).backward()
    assert logits.grad is not None
    assert torch.equal(logits.grad.abs().sum(1) > 0, used.bool())
