"""Distillation without labels: a teacher's distribution over prototypes as a student's target.

`prototypes.swapped_prediction` compares the two. Everything is computed in float32 (or float64)
under any autocast.
"""

from __future__ import annotations

from collections.abc import Sequence

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


@torch.no_grad()
def moved_centre(centre: Tensor, seen: Sequence[Tensor], decay: float) -> Tensor:
    """The centre after an optimiser step.

    Args:
        centre: c, (K,).
        seen: mean scores (K,) of this process's batches since the last step, at least one.
        decay: fraction of the centre that is kept.

    Returns:
        decay c + (1 - decay) mean, over the batches of all processes, (K,).

    Source: Caron et al. 2021, arXiv:2104.14294, equation 4.
    """
    mean = torch.stack([one.to(centre.dtype) for one in seen]).mean(0)
    return centre.lerp(distributed.all_reduce_sum(mean) / distributed.world_size(), 1 - decay)


def warmed_temperature(first: float | None, last: float, epochs: int, epoch: int) -> float:
    """The teacher's temperature in an epoch: ``epochs`` equal steps, then ``last``.

    Five from 0.04 to 0.07: 0.04, 0.0475, 0.055, 0.0625, 0.07.
    """
    if first is None or epoch >= epochs:
        return last
    return first + (last - first) * epoch / max(1, epochs - 1)
