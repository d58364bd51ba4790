"""Losses of O-GAN: the mean of an encoder's output is a score, the rest of it a code.

Su 2019, arXiv:1903.01931; reference code github.com/bojone/o-gan. Departure: the squared distance
that divides is at least 1e-6 a number, where a generated image equals the real one in its place.
"""

from __future__ import annotations

import torch
from torch import Tensor

from genlab.losses.numbers import precise

LEAST = 1e-6


def standardised_code(e: Tensor) -> Tensor:
    """The encoder's output less its mean, over its deviation in the row: (B, D) -> (B, D)."""
    return (e - e.mean(1, keepdim=True)) / e.std(1, correction=0, keepdim=True).clamp(min=1e-12)


def row_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Pearson's correlation of each pair of rows: 2 x (B, D) -> (B,)."""
    a, b = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    return torch.cosine_similarity(a, b, dim=1, eps=1e-12)


def orthogonal_loss(
    e_real: Tensor, e_fake: Tensor, e_fixed: Tensor, distance: Tensor, z: Tensor
) -> dict[str, Tensor]:
    """Loss of generator and encoder in one, and its terms: means over the batch, in float32.

    t1 + t2 - corr(z, e_fake) / 2 + t1^2 / (4 distance), where t1 is the mean of e_real less that of
    e_fixed, and t2 the mean of e_fake less that of e_fixed. The value of t2 is 0, and so is its
    gradient by the encoder's weights; by the generator's it is not.

    Args:
        e_real: encoder's output for real images, (B, D).
        e_fake: output for generated ones, with a gradient to the generator, (B, D).
        e_fixed: output for the same without one, (B, D).
        distance: squared distance of the real and the generated image, mean over C H W, (B,).
        z: noise of the generated images, (B, D).

    Returns:
        ``loss``, ``score`` (t1) and ``correlation``, scalars.
    """
    e_real, e_fake, e_fixed = precise(e_real), precise(e_fake), precise(e_fixed)
    t1, t2 = e_real.mean(1) - e_fixed.mean(1), e_fake.mean(1) - e_fixed.mean(1)  # 2 x (B,)
    correlation = row_correlation(precise(z), e_fake)
    penalty = t1.square() / (4 * precise(distance).detach().clamp(min=LEAST))
    loss = t1 + t2 - correlation / 2 + penalty
    return {"loss": loss.mean(), "score": t1.mean(), "correlation": correlation.mean()}
