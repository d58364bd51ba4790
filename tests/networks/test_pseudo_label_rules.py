"""What each rule says of hand-made predictions."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from genlab.networks.pseudo_label_rules import (
    RULES,
    Alignment,
    FixedThreshold,
    FlexThreshold,
    FreeThreshold,
    SoftThreshold,
)


def sure(*confidences: float, label: int = 0, classes: int = 2) -> torch.Tensor:
    """Predictions of one class with these confidences, the rest spread over the others."""
    rows = torch.tensor(confidences)[:, None]
    q = ((1 - rows) / (classes - 1)).repeat(1, classes)
    q[:, label] = rows[:, 0]
    return q


def test_the_threshold_itself_is_enough() -> None:
    rule = FixedThreshold(0.95)
    assert rule(sure(0.95, 0.9499, 0.3, 1.0)).tolist() == [1, 0, 0, 1]  # 0.3: the other has 0.7
    assert FixedThreshold(1.0)(sure(1.0, 0.9999)).tolist() == [1, 0]


def test_flexmatch_lowers_the_threshold_of_classes_that_are_learnt_late() -> None:
    rule = FlexThreshold(3, 0.9)
    rule.begin(torch.tensor([3, 5, 7, 8, 9, 11]))
    assert rule.thresholds().tolist() == [0, 0, 0]  # none learnt yet: all are welcome
    rule.update(torch.cat([sure(0.95, 0.89, classes=3), sure(0.9, label=1, classes=3)]),
                torch.tensor([3, 5, 7]))  # fmt: skip
    # class 0 and 1 learnt once each, of four not learnt: b = 1/4
    torch.testing.assert_close(rule.thresholds(), 0.9 * torch.tensor([1 / 7, 1 / 7, 0.0]))
    rule.update(sure(0.99, 0.99, 0.99, 0.99, classes=3), torch.tensor([5, 8, 9, 11]))
    # five of class 0, one of class 1, none left
    torch.testing.assert_close(rule.thresholds(), 0.9 * torch.tensor([1.0, 1 / 9, 0.0]))
    assert rule(sure(0.89, 0.91, classes=3)).tolist() == [0, 1]
    assert rule(sure(0.5, label=1, classes=3)).tolist() == [1]
    rule.update(sure(0.99, label=2, classes=3), torch.tensor([3]))  # an image changes its class
    torch.testing.assert_close(rule.thresholds()[2], torch.tensor(0.9 / 7))


def test_flexmatch_state_is_as_large_as_its_data() -> None:
    rule, other = FlexThreshold(3, 0.9), FlexThreshold(3, 0.9)
    rule.begin(torch.arange(50))
    rule.update(sure(0.95, classes=3), torch.tensor([3]))
    other.load_state_dict(rule.state_dict())
    assert torch.equal(other.last, rule.last)


def test_freematch_follows_the_mean_confidence_and_the_classes() -> None:
    rule = FreeThreshold(2, 0.5)
    assert rule.thresholds().tolist() == [0.5, 0.5]
    q = torch.cat([sure(0.9, 0.9, 0.9), sure(0.7, label=1)])
    rule.update(q, torch.arange(4))
    confidence = 0.5 * 0.5 + 0.5 * 0.85
    expected = 0.5 * 0.5 + 0.5 * q.mean(0)
    torch.testing.assert_close(rule.confidence, torch.tensor(confidence))
    torch.testing.assert_close(rule.thresholds(), confidence * expected / expected.max())
    torch.testing.assert_close(rule.counted, torch.tensor([0.625, 0.375]))
    high, low = rule.thresholds().tolist()
    assert high > 0.6 > 0.5 > low
    assert rule(sure(high + 0.01, high - 0.01)).tolist() == [1, 0]  # each class has its own
    assert rule(sure(high - 0.01, 0.51, label=1)).tolist() == [1, 1]


def test_softmatch_is_a_gaussian_below_the_mean() -> None:
    rule = SoftThreshold(2, 0.0)  # no memory: the statistics of the last step
    q = sure(0.6, 0.8, 0.7, 0.9)
    rule.update(q, torch.arange(4))
    confidence = q.amax(1)
    torch.testing.assert_close(rule.mean, confidence.mean())
    torch.testing.assert_close(rule.variance, confidence.var())
    weight = rule(q)
    assert weight[confidence > confidence.mean()].tolist() == [1, 1]
    deviation = (0.6 - confidence.mean()) / (confidence.std() / 2)
    torch.testing.assert_close(weight[0], torch.exp(-(deviation**2) / 2))
    assert weight[0] < weight[2] < 1


def test_each_rule_says_what_is_learnt_and_by_which_view() -> None:
    q, aligned = torch.tensor([[0.6, 0.4]]), torch.tensor([[0.2, 0.8]])
    weak, strong = torch.zeros(1, 2), torch.ones(1, 2)
    for name, make in RULES.items():
        rule = make(2, 0.95, 0.5, 0.9)
        learner = weak if name == "pseudo_label" else strong
        assert rule.learner(weak, strong) is learner, name
        target = rule.target(q, aligned)
        if name == "uda":  # to the power 1 / T = 2, normalised
            torch.testing.assert_close(target, torch.tensor([[0.04, 0.64]]) / 0.68)
        else:
            assert target.tolist() == [0 if name == "softmatch" else 1], name


def test_alignment_makes_predictions_as_frequent_as_wanted() -> None:
    align = Alignment(3, 0.0)
    q = (2 * torch.randn(500, 3) + torch.tensor([2.0, 0.0, 0.0])).softmax(1)
    assert torch.allclose(align(q), q)  # nothing seen yet
    for _ in range(30):  # to the fixed point of q -> aligned q
        align.update(q)
    aligned = align(q)
    torch.testing.assert_close(aligned.sum(1), torch.ones(500))
    before, after = (p.mean(0).sub(1 / 3).abs().max() for p in (q, aligned))
    assert after < before / 2
    align.target.copy_(torch.tensor([1.0, 0.0, 0.0]))
    assert (align(q).argmax(1) == 0).all()


def test_alignment_starts_at_the_first_steps_mean_as_usb_does() -> None:
    align = Alignment(2, 0.999)
    first, second = torch.tensor([[0.8, 0.2]]), torch.tensor([[0.4, 0.6]])
    align.target.copy_(torch.tensor([0.1, 0.9]))
    torch.testing.assert_close(align(first), first)  # whatever the target is
    align.update(first)
    torch.testing.assert_close(align.running, first[0])
    torch.testing.assert_close(align(first), align.target[None])
    align.update(second)
    torch.testing.assert_close(align.running, 0.999 * first[0] + 0.001 * second[0])


def test_freematch_starts_at_one_in_k_as_usb_does() -> None:
    rule = FreeThreshold(4, 0.999)
    assert rule.confidence.item() == 0.25
    assert rule.expected.tolist() == rule.counted.tolist() == [0.25] * 4


@pytest.mark.parametrize("kind", [FlexThreshold, FreeThreshold, SoftThreshold])
def test_statistics_are_in_the_checkpoint(kind: Any) -> None:
    rule = kind(3, 0.5)
    if kind is FlexThreshold:
        rule.begin(torch.arange(8))
    before = {name: value.clone() for name, value in rule.state_dict().items()}
    q = sure(0.9, 0.8, classes=3)
    rule.update(q, torch.tensor([1, 2]))
    assert before
    assert any(not torch.equal(before[n], v) for n, v in rule.state_dict().items())
    again = kind(3, 0.5)
    again.load_state_dict(rule.state_dict())
    assert torch.equal(again(q), rule(q))
