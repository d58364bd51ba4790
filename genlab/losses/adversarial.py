"""Adversarial losses of critic and generator, by name."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from genlab.losses.numbers import precise

OBJECTIVES = ("wasserstein", "hinge", "non_saturating", "relativistic")


def critic_loss(objective: str, real: Tensor, fake: Tensor) -> Tensor:
    """Loss that the critic minimises; means over each batch of scores.

    Args:
        objective: ``wasserstein``: E[fake] - E[real] (Arjovsky, Chintala, Bottou 2017,
            arXiv:1701.07875); ``hinge``: E[(1 - real)+] + E[(1 + fake)+] (Lim and Ye 2017,
            arXiv:1705.02894); ``non_saturating``: cross entropy of real against fake, in nats
            (Goodfellow et al. 2014, arXiv:1406.2661); ``relativistic``: E[log(1 + exp(fake -
            real))], each real image against the fake one in its place (Huang et al. 2025,
            arXiv:2501.05441).
        real: scores of real images, (B,), of any precision; the loss is in float32 at least.
        fake: scores of generated ones, (B,).

    Raises:
        ValueError: unknown objective; unequal counts of scores that are compared in pairs.
    """
    real, fake = precise(real), precise(fake)
    _check(objective)
    if objective == "wasserstein":
        return fake.mean() - real.mean()
    if objective == "hinge":
        return F.relu(1 - real).mean() + F.relu(1 + fake).mean()
    if objective == "relativistic":
        return F.softplus(_lead(fake, real)).mean()
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(objective: str, fake: Tensor, real: Tensor | None = None) -> Tensor:
    """Loss that the generator minimises.

    -E[fake]; E[-log sigmoid(fake)] if non-saturating; E[log(1 + exp(real - fake))] if relativistic.

    Args:
        objective: name of the objective, see `critic_loss`.
        fake: scores, (B,).
        real: scores of the real images in the same places, (B,); of ``relativistic`` alone.

    Raises:
        ValueError: unknown objective; ``relativistic`` without scores of as many real images.
    """
    _check(objective)
    fake = precise(fake)
    if objective == "relativistic":
        if real is None:
            raise ValueError("objective 'relativistic' requires scores of real images")
        return F.softplus(_lead(precise(real), fake)).mean()
    return F.softplus(-fake).mean() if objective == "non_saturating" else -fake.mean()


def _lead(one: Tensor, other: Tensor) -> Tensor:
    if one.shape != other.shape:
        raise ValueError(f"pairs require equally many scores, got {len(one)} and {len(other)}")
    return one - other


def _check(objective: str) -> None:
    if objective not in OBJECTIVES:
        raise ValueError(f"unknown objective {objective!r}; choose from {', '.join(OBJECTIVES)}")
