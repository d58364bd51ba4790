"""Distances of two predictions of one image, and the entropy of a prediction."""

from __future__ import annotations

import torch
from torch import Tensor


def prediction_kl(logits: Tensor, moved: Tensor) -> Tensor:
    """KL(p || p') of two predictions of each image, in nats: 2 x (M, K) -> (M,), float32.

    Args:
        logits: scores of p; detach them where p is a target.
        moved: scores of p'.

    Source: Miyato et al. 2018 (VAT), arXiv:1704.03976, eq. 5.
    """
    logp, logq = _log(logits), _log(moved)
    return (logp.exp() * (logp - logq)).sum(1)


def prediction_entropy(logits: Tensor) -> Tensor:
    """Entropy of the prediction of each image, in nats: (M, K) -> (M,), float32."""
    logp = _log(logits)
    return -(logp.exp() * logp).sum(1)


def probability_distance(logits: Tensor, target: Tensor) -> Tensor:
    """Squared distance of two predictions of each image: 2 x (M, K) -> (M,) in [0, 2], float32.

    Args:
        logits: scores of the prediction that learns.
        target: scores of the other; no gradient goes into it.

    Source: Tarvainen, Valpola 2017 (mean teacher), arXiv:1703.01780. Departure: the sum over the K
    classes; the reference code has their mean.
    """
    return (_log(logits).exp() - _log(target.detach()).exp()).square().sum(1)


def _log(logits: Tensor) -> Tensor:
    """Logarithms of probabilities, at least in float32."""
    return (logits if logits.dtype == torch.float64 else logits.float()).log_softmax(1)
