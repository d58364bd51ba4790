"""Losses and results of pretext tasks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def task_nll(logits: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Cross entropy and accuracy of a pretext task that is a choice among K.

    Args:
        logits: (N, K).
        target: (N,) int64.

    Logs:
        train/task_accuracy, val/task_accuracy (fraction, higher): share of the task's questions
            that are answered rightly.
        train/task_chance, val/task_chance (fraction): that share by guessing: 1 / K.

    Returns:
        ``loss``, float32 at least; ``task_accuracy`` and ``task_chance``. Means over N.
    """
    with torch.autocast(logits.device.type, enabled=False):
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        loss = F.cross_entropy(exact, target)
    right = (logits.detach().argmax(1) == target).float().mean()
    chance = torch.full_like(right, 1 / logits.shape[1])
    return {"loss": loss, "task_accuracy": right, "task_chance": chance}


def soft_code_nll(logits: Tensor, bins: Tensor, share: Tensor) -> Tensor:
    """Cross entropy of each pixel between a soft code of few bins and predicted scores.

    Args:
        logits: (N, Q).
        bins: the code's bins, (N, k) int64.
        share: their shares, (N, k), which sum to 1.

    Returns:
        (N,) nats, float32 at least.
    """
    with torch.autocast(logits.device.type, enabled=False):
        exact = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return -(share * exact.log_softmax(1).gather(1, bins)).sum(1)
