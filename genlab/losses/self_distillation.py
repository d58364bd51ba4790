"""Distillation without labels: a teacher's distribution over prototypes as a student's target.

`prototypes.swapped_prediction` compares the two. Everything is computed in float32 (or float64)
under any autocast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from genlab import distributed


@torch.no_grad()
def centred_target(scores: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """The teacher's distribution, softmax((t - c) / T): (..., K) -> (..., K), without a gradient.

    Centring alone leads to the uniform distribution, a low temperature alone to a single output;
    together they keep from both.

    Args:
        scores: t, the teacher's, (..., K).
        centre: c, their running mean, (K,).
        temperature: T; lower is sharper.

    Raises:
        ValueError: a temperature that is not positive.

    Source: Caron et al. 2021, arXiv:2104.14294, equation 1 and section 3.1.
    """
    if not temperature > 0:
        raise ValueError(f"teacher_temperature {temperature} must be above 0")
    with torch.autocast(scores.device.type, enabled=False):
        kind = torch.promote_types(scores.dtype, torch.float32)
        return ((scores.to(kind) - centre.to(kind)) / temperature).softmax(-1)


@torch.no_grad()
def information(loss: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Both parts of a cross entropy, which tell learning from either kind of collapse.

    Args:
        loss: mean cross entropy of targets with predictions.
        targets: rows that sum to 1, (..., K).

    Logs:
        train/teacher_entropy (nats): mean entropy of the teacher's distributions; log K is collapse
            to the uniform one, 0 to a single output.
        train/divergence (nats): the loss less that entropy, the divergence of the student from the
            teacher; near 0 both say the same of all images, which is collapse of either kind.
    """
    entropy = torch.special.entr(targets).sum(-1).mean()
    return {"teacher_entropy": entropy, "divergence": loss.detach() - entropy}


def masked_distillation(
    scores: Tensor, targets: Tensor, weight: Tensor, temperature: float = 0.1
) -> Tensor:
    """Weighted sum over masked patches of the cross entropy of target and prediction.

    Args:
        scores: the student's, of patches that it does not see, (M, K).
        targets: the teacher's distributions of the same patches, (M, K); constants.
        weight: share of each patch in the sum, (M,); see `patch_weights`.
        temperature: tau of the student's distributions.

    Returns:
        Scalar, nats: with weights by `patch_weights`, the mean over an image's masked patches, and
        of that the mean over all images; those without a mask add nothing.

    Raises:
        ValueError: a temperature that is not positive.

    Source: Zhou et al. 2022, arXiv:2111.07832, equation 2; facebookresearch/dinov2.
    """
    if not temperature > 0:
        raise ValueError(f"temperature {temperature} must be above 0")
    with torch.autocast(scores.device.type, enabled=False):
        kind = torch.promote_types(scores.dtype, torch.float32)
        log_p = (scores.to(kind) / temperature).log_softmax(-1)
        return -(weight.to(kind) * (targets.detach() * log_p).sum(-1)).sum()


@torch.no_grad()
def patch_weights(masked: Tensor) -> Tensor:
    """Share of each patch: one over the masked patches of its image, over the number of images.

    Args:
        masked: (B, N) bool.

    Returns:
        (B, N) float32, 0 where not masked.
    """
    return masked / masked.sum(1, keepdim=True).clamp(min=1) / len(masked)


@torch.no_grad()
def score_total(scores: Tensor, counted: Tensor | None = None) -> Tensor:
    """Sum of the scores (B, K) and their number, in one vector (K + 1,).

    Args:
        scores: the teacher's.
        counted: rows that count, (B,) bool; None for all.
    """
    rows = scores.new_ones(len(scores)) if counted is None else counted.to(scores.dtype)
    return torch.cat([rows @ scores, rows.sum()[None]])


@torch.no_grad()
def moved_centre(centre: Tensor, seen: Tensor, decay: float) -> Tensor:
    """The centre after an optimiser step.

    Args:
        centre: c, (K,).
        seen: totals (n, K + 1) of this process's n batches since the last step, by `score_total`.
        decay: fraction of the centre that is kept.

    Returns:
        decay c + (1 - decay) mean, over the scores of all processes, (K,); c without any.

    Source: Caron et al. 2021, arXiv:2104.14294, equation 4.
    """
    total = distributed.all_reduce_sum(seen.sum(0).to(centre.dtype))
    some = (total[-1] > 0).to(centre.dtype)
    return centre.lerp(total[:-1] / total[-1].clamp(min=1), (1 - decay) * some)


def warmed_temperature(first: float | None, last: float, epochs: int, epoch: int) -> float:
    """The teacher's temperature in an epoch: ``epochs`` equal steps, then ``last``.

    Five from 0.04 to 0.07: 0.04, 0.0475, 0.055, 0.0625, 0.07.
    """
    if first is None or epoch >= epochs:
        return last
    return first + (last - first) * epoch / max(1, epochs - 1)


def check_self_distillation(given: Mapping[str, Any]) -> None:
    """Check the arguments that methods of this kind share.

    Args:
        given: a method's arguments by name.

    Raises:
        ValueError: one is out of its range.
    """
    for name in ("temperature", "teacher_temperature", "warmup_temperature"):
        if given[name] is not None and not given[name] > 0:
            raise ValueError(f"{name} {given[name]} must be above 0")
    for name in ("ema_decay", "centre_decay"):
        if not 0 <= given[name] <= 1:
            raise ValueError(f"{name} {given[name]} must be in [0, 1]")
    for name in ("temperature_epochs", "freeze_steps"):
        if given[name] < 0:
            raise ValueError(f"{name} {given[name]} must be at least 0")
