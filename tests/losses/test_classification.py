"""Losses of classifiers against their definitions, one image at a time."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from genlab.losses import CLASS_LOSSES, class_nll, flooding
from tests.conftest import TwoRanks

LOGITS = torch.tensor(
    [[2.0, -1.0, 0.5], [0.1, 0.2, 0.3], [-3.0, 4.0, 1.0], [0.0, 0.0, 5.0]], dtype=torch.float64
)
LABEL = torch.tensor([0, 2, 0, 2])


def slow(kind: str, logits: Tensor, target: Tensor, gamma: float, alpha: float) -> float:
    """The definition for one image: (K,), probabilities (K,) -> nats."""
    total = 0.0
    for k, t in enumerate(target.tolist()):
        if kind != "binary_focal":
            p = math.exp(logits[k]) / sum(math.exp(x) for x in logits)
            total -= t * (1 - p) ** (gamma if kind == "focal" else 0) * math.log(p)
            continue
        p = 1 / (1 + math.exp(-logits[k]))
        if t == 1:
            total -= alpha * (1 - p) ** gamma * math.log(p)
        else:
            total -= (1 - alpha) * p**gamma * math.log(1 - p)
    return total


@pytest.mark.parametrize("kind", CLASS_LOSSES)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_equals_the_definition(kind: str, gamma: float) -> None:
    found = class_nll(kind, LOGITS, LABEL, gamma=gamma, alpha=0.3)
    targets = F.one_hot(LABEL, 3).double()
    wanted = [slow(kind, x, t, gamma, 0.3) for x, t in zip(LOGITS, targets, strict=True)]
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64))


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_binary_focal_loss_equals_torchvisions(gamma: float) -> None:
    logits = (5 * torch.randn(40, 6)).requires_grad_()
    target = torch.rand(40, 6).softmax(1)
    ours = class_nll("binary_focal", logits, target, gamma=gamma, alpha=0.25).sum()
    theirs = sigmoid_focal_loss(logits, target, alpha=0.25, gamma=gamma, reduction="sum")
    torch.testing.assert_close(ours, theirs)
    for one, other in zip(*(torch.autograd.grad(x, logits) for x in (ours, theirs)), strict=True):
        torch.testing.assert_close(one, other)


def test_focal_loss_forgives_what_is_right_and_not_what_is_wrong() -> None:
    """(1 - p)^2 of cross entropy: 10 000 times less at p = .99, nearly all at p = .01."""
    logits = torch.tensor([[math.log(0.99), math.log(0.01)], [math.log(0.01), math.log(0.99)]])
    label = torch.zeros(2, dtype=torch.int64)
    ratio = class_nll("focal", logits, label) / class_nll("cross_entropy", logits, label)
    torch.testing.assert_close(ratio, torch.tensor([1e-4, 0.99**2]), rtol=1e-3, atol=0)


def test_alpha_weighs_the_right_class_against_the_others() -> None:
    logits = torch.zeros(1, 4)
    yes = class_nll("binary_focal", logits, torch.tensor([1]), gamma=0, alpha=1.0)
    no = class_nll("binary_focal", logits, torch.tensor([1]), gamma=0, alpha=0.0)
    torch.testing.assert_close(no, 3 * yes)
    assert yes.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("kind", CLASS_LOSSES)
def test_labels_and_their_one_hot_targets_cost_the_same(kind: str) -> None:
    weight = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    hard = class_nll(kind, LOGITS, LABEL, weight=weight, label_smoothing=0.1)
    soft = class_nll(kind, LOGITS, F.one_hot(LABEL, 3).double(), weight=weight, label_smoothing=0.1)
    torch.testing.assert_close(hard, soft)


@pytest.mark.parametrize("kind", CLASS_LOSSES)
def test_smoothing_spreads_the_target(kind: str) -> None:
    spread = 0.7 * F.one_hot(LABEL, 3) + 0.3 / 3
    smoothed = class_nll(kind, LOGITS, LABEL, label_smoothing=0.3)
    torch.testing.assert_close(smoothed, class_nll(kind, LOGITS, spread.double()))
    assert not torch.allclose(smoothed, class_nll(kind, LOGITS, LABEL))


@pytest.mark.parametrize("kind", CLASS_LOSSES)
def test_a_class_of_weight_three_costs_three_times_as_much(kind: str) -> None:
    weight = torch.tensor([3.0, 1.0, 1.0], dtype=torch.float64)
    ratio = class_nll(kind, LOGITS, LABEL, weight=weight) / class_nll(kind, LOGITS, LABEL)
    torch.testing.assert_close(ratio, torch.tensor([3.0, 1, 3, 1], dtype=torch.float64))


@pytest.mark.parametrize("kind", CLASS_LOSSES)
@pytest.mark.parametrize("weight", [None, torch.tensor([1.0, 2.0, 3.0])])
def test_an_unknown_label_pays_nothing(kind: str, weight: Tensor | None) -> None:
    logits = LOGITS.float().requires_grad_()
    nll = class_nll(kind, logits, torch.tensor([0, -1, 1, -1]), weight=weight, label_smoothing=0.1)
    nll.sum().backward()
    assert logits.grad is not None
    assert (nll[[1, 3]] == 0).all()
    assert (logits.grad[[1, 3]] == 0).all()
    assert (logits.grad[[0, 2]] != 0).all()


@pytest.mark.parametrize("kind", CLASS_LOSSES)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_extreme_logits_give_finite_losses_and_gradients(kind: str, gamma: float) -> None:
    logits = torch.tensor([[80.0, -80.0], [-80.0, 80.0]], requires_grad=True)
    loss = class_nll(kind, logits, torch.tensor([0, 0]), gamma=gamma).sum()
    loss.backward()
    assert logits.grad is not None
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("kind", CLASS_LOSSES)
def test_half_precision_is_computed_in_single(kind: str) -> None:
    nll = class_nll(kind, LOGITS.bfloat16(), LABEL)
    assert nll.dtype == torch.float32
    torch.testing.assert_close(nll, class_nll(kind, LOGITS.bfloat16().float(), LABEL))


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hinge.*choose from.*focal"):
        class_nll("hinge", LOGITS, LABEL)


def test_flooding_turns_the_gradient_round_below_the_level() -> None:
    for value, slope in ((0.7, 1.0), (0.2, -1.0)):
        loss = torch.tensor(value, requires_grad=True)
        flooded = flooding(loss, 0.5)
        flooded.backward()
        assert flooded.item() == pytest.approx(abs(value - 0.5) + 0.5)
        assert loss.grad == slope


@pytest.mark.ddp
def test_flooding_decides_by_the_mean_of_all_ranks(two_ranks: TwoRanks) -> None:
    """Losses .2 and .7 around the level .4: their mean .45 is above, so both go down."""
    _, two = two_ranks.results("tests.losses.programs_classification:flooded")
    assert [r["slope"].item() for r in two] == [1.0, 1.0]
    assert sum(r["loss"].item() for r in two) / 2 == pytest.approx(0.45)
