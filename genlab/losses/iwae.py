"""The importance-weighted bound."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def iwae_bound(log_w: Tensor) -> Tensor:
    """Log of the mean importance weight, a lower bound of log p(x): (K, B) -> (B,), in nats.

    K = 1 is the ELBO; larger K is tighter in expectation, and exact for any K when q(z|x) is the
    true posterior. At least float32.

    Source: Burda, Grosse, Salakhutdinov 2015, arXiv:1509.00519, eq. 8.
    """
    log_w = log_w if log_w.dtype == torch.float64 else log_w.float()
    return torch.logsumexp(log_w, dim=0) - math.log(len(log_w))
