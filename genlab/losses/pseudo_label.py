"""Losses of a network that learns from its own predictions on unlabelled images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pseudo_label_nll(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted cross entropy, mean over **all** unlabelled images, those of weight 0 included.

    Args:
        logits: (M, K).
        target: (M,) classes, or (M, K) probabilities; no gradient goes into it.
        weight: (M,) in [0, 1], weight of each image.

    Returns:
        Scalar in nats, float32; exactly 0 where all weights are 0.

    Source: Sohn et al. 2020 (FixMatch), arXiv:2001.07685, eq. 4.
    """
    nll = F.cross_entropy(logits.float(), target.detach(), reduction="none")
    return (weight * nll).mean()


def sharpen(probability: Tensor, temperature: float) -> Tensor:
    """Raise to the power 1 / temperature and normalise: (M, K) -> (M, K).

    Source: Xie et al. 2019 (UDA), arXiv:1904.12848; the same as dividing the logits.
    """
    return (probability.clamp(min=1e-30).log() / temperature).softmax(1)


def class_fairness(
    probability: Tensor, weight: Tensor, expected: Tensor, counted: Tensor
) -> Tensor:
    """FreeMatch's self-adaptive class fairness, to be minimised: sum_k a_k log b_k.

    a is the running mean prediction, b the mean prediction of this step's images in use; both are
    divided by how often each class is predicted and then normalised.

    Args:
        probability: (M, K) of the strong views, with gradient; of all processes.
        weight: (M,) 0 or 1, 1 for the images in use.
        expected: (K,) running mean prediction on weak views.
        counted: (K,) running share of each class among the pseudo-labels.

    Returns:
        Scalar <= 0 in nats; 0 where no image is in use.

    Source: Wang et al. 2022 (FreeMatch), arXiv:2205.07246, section 3.2; reference code
    microsoft/Semi-supervised-learning. Departure: a class that no image in use is predicted as
    adds 0; there it adds a constant, 27.6 a_k, which has no gradient either.
    """
    used = (weight > 0)[:, None]  # (M, 1)
    n = used.sum().clamp(min=1)
    said = F.one_hot(probability.argmax(1), probability.shape[1])
    share = (said * used).sum(0) / n
    mean = (probability * used).sum(0) / n
    ours = _ratio(mean, share)
    return (_ratio(expected, counted) * torch.where(ours > 0, ours, 1.0).log()).sum()


def _ratio(mean: Tensor, share: Tensor) -> Tensor:
    """Ratio of ``mean`` to ``share`` over the classes that occur, normalised: (K,)."""
    ratio = torch.where(share > 0, mean / share.clamp(min=1e-12), 0.0)
    return ratio / ratio.sum().clamp(min=1e-12)
