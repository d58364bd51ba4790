"""Losses of vector-quantised autoencoders and of priors over their codes.

Sums over data dimensions, one value a sample: both terms of a VQ-VAE then scale alike with the
image and the code grid, and the mean over a repeated batch does not change.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor


def commitment(z: Tensor, quantized: Tensor) -> Tensor:
    """Commitment loss, ||z - sg(e)||^2 (VQ-VAE, eq. 3, third term).

    It moves the encoder only. beta multiplies this term and no other.

    Args:
        z: encoder output, (B, D, h, w).
        quantized: the nearest code vectors, (B, D, h, w).

    Returns:
        Squared distance summed over dimensions and positions, (B,).

    Source: van den Oord et al. 2017, arXiv:1711.00937.
    """
    return (z - quantized.detach()).square().flatten(1).sum(1)


def codebook(z: Tensor, quantized: Tensor) -> Tensor:
    """Codebook loss, ||sg(z) - e||^2 (VQ-VAE, eq. 3, second term).

    It moves the codebook only; a codebook that is an exponential average does not need it.

    Args:
        z: encoder output, (B, D, h, w).
        quantized: the nearest code vectors, (B, D, h, w), with a gradient to the codebook.

    Returns:
        Squared distance summed over dimensions and positions, (B,).
    """
    return commitment(quantized, z)


def kl_uniform(logits: Tensor) -> Tensor:
    """KL(q(k|x) || uniform) of categorical posteriors, for the Gumbel-softmax quantiser.

    Args:
        logits: unnormalised log-probabilities of the K codes, (B, K, h, w).

    Returns:
        Nats summed over positions, (B,): 0 for equal logits, h * w * log K for certain codes.
    """
    log_q = F.log_softmax(logits.float(), dim=1)
    per_position = (log_q.exp() * (log_q + math.log(logits.shape[1]))).sum(1)  # (B, h, w)
    return per_position.flatten(1).sum(1)


def bit_entropy(logits: Tensor) -> Tensor:
    """Entropy of independent bits.

    Args:
        logits: log(p / (1 - p)) of each bit, any shape.

    Returns:
        Nats of each bit, of the same shape: log 2 at 0.
    """
    return F.softplus(logits) - logits * logits.sigmoid()


def code_nll(logits: Tensor, codes: Tensor) -> Tensor:
    """Negative log-likelihood of a grid of codes under an autoregressive prior.

    Args:
        logits: logits of each position given those before it, (B, K, h, w).
        codes: code indices, (B, h, w).

    Returns:
        Nats summed over positions, (B,).
    """
    nll = F.cross_entropy(logits.float(), codes, reduction="none")  # (B, h, w)
    return nll.flatten(1).sum(1)
