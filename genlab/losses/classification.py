"""Classification losses: cross entropy, its focal forms, and flooding."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from genlab import distributed

TINY = 1e-12  # below, a power gamma < 1 has an infinite slope
CLASS_LOSSES = ("cross_entropy", "focal", "binary_focal")


def class_nll(
    kind: str,
    logits: Tensor,
    target: Tensor,
    *,
    weight: Tensor | None = None,
    label_smoothing: float = 0.0,
    gamma: float = 2.0,
    alpha: float = 0.25,
) -> Tensor:
    """The loss of every image, by name; see `soft_cross_entropy` and `binary_focal`.

    Args:
        kind: ``cross_entropy``, ``focal`` (its softmax form) or ``binary_focal``.
        logits: (B, K).
        target: labels (B,) int64, -1 where unknown; or probabilities (B, K).
        weight: weight of each class, (K,); multiplies the loss of the class's share of the target.
        label_smoothing: share of the target that is spread evenly over all classes (Szegedy et al.
            2015, arXiv:1512.00567).
        gamma: focusing exponent of the focal forms.
        alpha: weight of the right class in the binary form.

    Returns:
        (B,) in nats, float32 under any autocast; 0 where the label is unknown.

    Raises:
        ValueError: unknown loss.
    """
    if kind not in CLASS_LOSSES:
        raise ValueError(f"unknown loss {kind!r}; choose from {', '.join(CLASS_LOSSES)}")
    logits = logits if logits.dtype.is_floating_point and logits.itemsize > 2 else logits.float()
    if kind == "cross_entropy":
        return F.cross_entropy(
            logits,
            target,
            weight,
            ignore_index=-1,
            reduction="none",
            label_smoothing=label_smoothing,
        )
    soft = smooth(target, logits, label_smoothing)
    if kind == "focal":
        return softmax_focal(logits, soft, weight, gamma)
    return binary_focal(logits, soft, weight, gamma, alpha)


def softmax_focal(
    logits: Tensor, target: Tensor, weight: Tensor | None = None, gamma: float = 2.0
) -> Tensor:
    """Focal loss over a softmax: -sum_k w_k t_k (1 - p_k)^gamma log p_k, (B, K) -> (B,).

    With gamma 0 it is cross entropy. Lin et al. 2017, arXiv:1708.02002, equation 4, for K classes
    and soft targets; the source has two classes and a sigmoid (`binary_focal`).
    """
    log_p = logits.log_softmax(1)
    pays = -target * (-log_p.expm1()).clamp(min=TINY) ** gamma * log_p
    return (pays if weight is None else pays * weight).sum(1)


def binary_focal(
    logits: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    gamma: float = 2.0,
    alpha: float = 0.25,
) -> Tensor:
    """Focal loss of K yes/no questions, one a class: (B, K) -> (B,).

    Lin et al. 2017, arXiv:1708.02002, equation 5: alpha weighs the one right class, 1 - alpha the
    others. Like the source it is summed over the questions and divided by the number of labelled
    images (their objects). A row of ``target`` without any probability is an unknown label and pays
    nothing. `torchvision.ops.sigmoid_focal_loss` gives the same numbers, but for gamma below 1 a
    gradient of NaN once a sigmoid is 1 in float32.
    """
    p = logits.sigmoid()
    wrong = p * (1 - target) + (1 - p) * target  # 1 - p_t, (B, K)
    balance = alpha * target + (1 - alpha) * (1 - target)
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    questions = balance * wrong.clamp(min=TINY) ** gamma * entropy
    known = target.sum(1) > 0 if weight is None else (target * weight).sum(1)
    return questions.sum(1) * known


def smooth(target: Tensor, logits: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Labels (B,) or probabilities (B, K) to smoothed probabilities (B, K); unknown to zeros."""
    if target.ndim == 1:
        known = (target >= 0)[:, None]
        target = F.one_hot(target.clamp(min=0), logits.shape[1]) * known
    target = target.to(logits.dtype)
    even = target.sum(1, keepdim=True) / logits.shape[1]
    return (1 - label_smoothing) * target + label_smoothing * even


def flooding(loss: Tensor, level: float) -> Tensor:
    """Flooding, |loss - b| + b: below the level b the gradient changes sign and the loss rises.

    Ishida, Yamane, Sakai, Niu, Sugiyama 2020, arXiv:2002.08709. The side is that of the mean loss
    over all ranks, so N processes train as one would; with gradient accumulation it is decided for
    every piece of the batch, which the source shows to be an upper bound.

    Args:
        loss: scalar, mean over this rank's images.
        level: b > 0.
    """
    mean = distributed.all_reduce_sum(loss.detach()) / distributed.world_size()
    return (mean - level).sign() * (loss - level) + level
