"""Losses of critic and generator against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from genlab.losses import OBJECTIVES, critic_loss, generator_loss

REAL, FAKE = [0.3, -2.0, 4.0], [1.5, -0.2, -3.0]


def slow(objective: str) -> tuple[float, float]:
    """Of critic and generator, one score at a time."""
    if objective == "relativistic":
        pairs = [r - f for r, f in zip(REAL, FAKE, strict=True)]
        critic = sum(math.log(1 + math.exp(-d)) for d in pairs) / 3
        return critic, sum(math.log(1 + math.exp(d)) for d in pairs) / 3
    per_real = {
        "wasserstein": lambda s: -s,
        "hinge": lambda s: max(0.0, 1 - s),
        "non_saturating": lambda s: -math.log(1 / (1 + math.exp(-s))),
    }[objective]
    per_fake = {
        "wasserstein": lambda s: s,
        "hinge": lambda s: max(0.0, 1 + s),
        "non_saturating": lambda s: -math.log(1 - 1 / (1 + math.exp(-s))),
    }[objective]
    wanted = per_real if objective == "non_saturating" else lambda s: -s
    critic = sum(map(per_real, REAL)) / 3 + sum(map(per_fake, FAKE)) / 3
    return critic, sum(map(wanted, FAKE)) / 3


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_equal_their_definitions(objective: str) -> None:
    real, fake = torch.tensor([REAL, FAKE], dtype=torch.float64)
    critic, generator = slow(objective)
    assert critic_loss(objective, real, fake).item() == pytest.approx(critic, abs=1e-12)
    assert generator_loss(objective, fake, real).item() == pytest.approx(generator, abs=1e-12)


def test_non_saturating_is_the_cross_entropy_of_real_against_fake() -> None:
    real, fake = torch.randn(2, 7)
    ones, zeros = torch.ones(7), torch.zeros(7)
    entropy = F.binary_cross_entropy_with_logits(real, ones)
    entropy += F.binary_cross_entropy_with_logits(fake, zeros)
    torch.testing.assert_close(critic_loss("non_saturating", real, fake), entropy)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_generator_wants_what_the_critic_does_not(objective: str) -> None:
    fake = torch.randn(5, requires_grad=True)
    (up,) = torch.autograd.grad(critic_loss(objective, torch.zeros(5), fake), fake)
    (down,) = torch.autograd.grad(generator_loss(objective, fake, torch.zeros(5)), fake)
    assert (up >= 0).all()
    assert (down < 0).all()


def test_half_precision_scores_give_a_loss_in_single() -> None:
    """A mean of 4,096 scores near 1,000 would be off by whole units in bfloat16."""
    scores = torch.full((4096,), 1000.0, dtype=torch.bfloat16)
    loss = critic_loss("wasserstein", scores, scores)
    assert loss.dtype == torch.float32
    assert loss == 0
    assert generator_loss("hinge", scores) == -1000


@pytest.mark.parametrize("loss", [lambda o, x: critic_loss(o, x, x), generator_loss])
def test_unknown_objectives_are_named(loss: object) -> None:
    assert callable(loss)
    with pytest.raises(
        ValueError, match="unknown objective 'wgan'; choose from wasserstein, hinge"
    ):
        loss("wgan", torch.zeros(2))


def test_relativistic_scores_are_compared_in_pairs() -> None:
    real, fake = torch.tensor([1.0, 5.0]), torch.tensor([0.0, 4.0])
    loss = critic_loss("relativistic", real, fake)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert critic_loss("relativistic", real, fake.flip(0)) > 1 + loss
    with pytest.raises(ValueError, match="requires scores of real images"):
        generator_loss("relativistic", fake)
    with pytest.raises(ValueError, match="pairs require equally many scores, got 1 and 2"):
        critic_loss("relativistic", real, fake[:1])
