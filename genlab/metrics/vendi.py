"""Vendi score: the effective number of distinct items in a set of features."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def vendi_score(features: Tensor, centre: Tensor | None = None, order: float = 1.0) -> float:
    """Exponential of the entropy of the eigenvalues of K / n, K the cosines of all pairs.

    Between 1, for equal rows, and the smaller of n and F, so it compares sets of one size only. It
    rewards noise as it rewards variety: read it next to a metric of fidelity.

    Args:
        features: (n, F).
        centre: place from which directions are taken, (F,), such as the mean of real images; None
            for the origin. Features far from the origin have cosines near 1, and a score near 1
            whatever they are.
        order: q of Rényi's entropy; ``math.inf`` for one over the largest eigenvalue.

    Raises:
        ValueError: no rows, or an order below 0.

    Source: Friedman & Dieng 2022, arXiv:2210.02410; orders: Pasarkar & Dieng 2023,
    arXiv:2310.12952. Departure: of the F x F matrix, which has the same eigenvalues, if n > F.
    """
    if not len(features) or order < 0:
        raise ValueError(f"Vendi score requires rows and an order of at least 0, got {order}")
    rows = features.double()
    rows = F.normalize(rows if centre is None else rows - centre.double(), dim=1)
    tall = len(rows) > rows.shape[1]
    values = torch.linalg.eigvalsh(rows.T @ rows if tall else rows @ rows.T).clamp(min=0)
    share = values / values.sum()
    if order == math.inf:
        return float(1 / share.max())
    if order == 1:
        return float(torch.special.entr(share).sum().exp())
    return float(share[share > 0].pow(order).sum().pow(1 / (1 - order)))
