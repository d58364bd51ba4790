"""Gradient penalties on a critic, between real and generated images or at each of them.

Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville 2017, arXiv:1704.00028; one-sided: Petzka, Fischer,
Lukovnikov 2018, arXiv:1709.08894; at the images: Mescheder, Geiger, Nowozin 2018, arXiv:1801.04406.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from genlab.losses.numbers import precise

Scorer = Callable[[Tensor], Tensor]  # (B, C, H, W) -> (B,)
Scorers = tuple[Scorer, Scorer]  # of real and of generated images
Judged = tuple[tuple[Tensor, Tensor], Tensor | float, dict[str, Tensor]]


def between(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Points on the lines between pairs, one share per sample: (B, ...), (B, ...), (B,)."""
    share = share.view(-1, *[1] * (real.ndim - 1))
    return fake + share * (real - fake)


def gradient_norm(critic: Scorer, image: Tensor) -> Tensor:
    """Euclidean norm of the gradient of each score by its own image: (B, C, H, W) -> (B,).

    It can be differentiated by the critic's weights. Autocast is disabled: in bfloat16 the
    penalty's gradient has an error of one per cent. Where the gradient is zero, so is the norm, and
    its derivative is zero, not NaN.

    Args:
        critic: (B, C, H, W) -> (B,); scores must not depend on other images of the batch.
        image: points at which the gradient is taken; detached.
    """
    with torch.autocast(image.device.type, enabled=False), torch.enable_grad():
        image = image.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(image).sum(), image, create_graph=True)
    return torch.linalg.vector_norm(gradient.flatten(1), dim=1)


def gradient_penalty(norm: Tensor, one_sided: bool = False) -> Tensor:
    """Mean of (norm - 1)^2; one-sided only where the norm exceeds 1: (B,) -> scalar."""
    excess = norm - 1
    return (excess.clamp(min=0) if one_sided else excess).square().mean()


def scores_and_slopes(critic: Scorer, image: Tensor) -> tuple[Tensor, Tensor]:
    """Scores, and the squared norm of the gradient of each by its own image: -> 2 x (B,).

    The means of the latter over real and over generated images are R1 and R2. One pass, in float32
    at least: autocast is disabled.

    Args:
        critic: (B, C, H, W) -> (B,); scores must not depend on other images of the batch.
        image: (B, C, H, W), detached; what the critic does to it first is part of the gradient.
    """
    with torch.autocast(image.device.type, enabled=False), torch.enable_grad():
        image = precise(image.detach()).requires_grad_()
        scores = critic(image)
        (gradient,) = torch.autograd.grad(scores.sum(), image, create_graph=True)
    return scores, gradient.square().flatten(1).sum(1)


def judged(constraint: str, scorers: Scorers, real: Tensor, fake: Tensor, share: Tensor) -> Judged:
    """Scores of real and generated images, and the penalty of a critic's constraint.

    Args:
        constraint: ``penalty`` or ``one_sided_penalty``, on the norm between pairs of images;
            ``r1_r2``, half the sum of R1 and R2; any other has none.
        scorers: the critic of real and of generated images, each (B, C, H, W) -> (B,).
        real: images, (B, C, H, W).
        fake: generated images, of the same shape.
        share: places between the pairs, in [0, 1], (B,).

    Returns:
        Scores, 2 x (B,); the penalty, a mean over the batch, 0 for none; metrics, scalars.
    """
    if constraint == "r1_r2":
        return _at_images(scorers, real, fake)
    if constraint in ("penalty", "one_sided_penalty"):
        return _between(scorers, real, fake, share, constraint == "one_sided_penalty")
    return (scorers[0](real), scorers[1](fake)), 0.0, {}


def _at_images(scorers: Scorers, real: Tensor, fake: Tensor) -> Judged:
    on_real, slope1 = scores_and_slopes(scorers[0], real)  # 2 x (B,)
    on_fake, slope2 = scores_and_slopes(scorers[1], fake)
    r1, r2 = slope1.mean(), slope2.mean()
    return (on_real, on_fake), (r1 + r2) / 2, {"r1": r1, "r2": r2}


def _between(
    scorers: Scorers, real: Tensor, fake: Tensor, share: Tensor, one_sided: bool
) -> Judged:
    scores = scorers[0](real), scorers[1](fake)
    norm = gradient_norm(scorers[0], between(real, fake, share))  # (B,)
    penalty = gradient_penalty(norm, one_sided)
    figures = {"penalty": penalty, "gradient_norm": norm.mean()}
    return scores, penalty, figures | {"gradient_norm_sd": norm.std(correction=0)}
