"""Geometry of features without labels: distribution on the sphere, number of directions used."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 1024  # rows of distances that exist at a time


def check_finite(features: Tensor, what: str) -> None:
    """Refuse features of a network whose training has diverged.

    Raises:
        ValueError: a row of (N, F) that is not finite.
    """
    wrong = int((~features.flatten(1).isfinite().all(1)).sum())
    if wrong:
        raise ValueError(
            f"{what} are not finite, {wrong:,} of {len(features):,}: its training has diverged"
        )


def uniformity(features: Tensor, t: float = 2.0) -> float:
    """Log mean exp(-t ||x - y||^2) over all pairs of different rows, of length one; (N, F).

    0 when all are equal; the more evenly they lie on the sphere, the more negative: towards
    -2 t = -4 in high dimensions.

    Raises:
        ValueError: fewer than two rows.

    Source: Wang & Isola 2020, arXiv:2005.10242, section 4.1.2.
    """
    x, n = F.normalize(features.float(), dim=1), len(features)
    if n < 2:
        raise ValueError(f"uniformity needs at least two features, got {n}")
    logs = [(2 * t * (part @ x.T).sub_(1)).double().exp().sum() for part in x.split(BLOCK)]
    own = float(torch.stack(logs).sum()) - n  # without each row's pair with itself
    return math.log(max(own, 1e-300) / (n * (n - 1)))


def alignment(view1: Tensor, view2: Tensor) -> float:
    """Mean ||x - y||^2 between two views' features, of length one: (N, F), (N, F) -> 0 to 4.

    Source: Wang & Isola 2020, arXiv:2005.10242, section 4.1.1, alpha = 2.
    """
    x, y = F.normalize(view1.double(), dim=1), F.normalize(view2.double(), dim=1)
    return float((x - y).square().sum(1).mean())


def class_alignment(features: Tensor, label: Tensor) -> float:
    """Mean ||x - y||^2 between different images of one class, then over the classes; (N, F), (N,).

    Not Wang & Isola's alignment, whose pairs are two views of one image. NaN where no class has
    two images.
    """
    x, means = F.normalize(features.double(), dim=1), []
    for k in label[label >= 0].unique():
        rows = x[label == k]
        n = len(rows)
        if n > 1:  # sum over pairs of the cosine, from the length of the sum
            cosine = (rows.sum(0).square().sum() - rows.square().sum()) / (n * (n - 1))
            means.append(2 - 2 * cosine)
    return float(torch.stack(means).mean()) if means else math.nan


def effective_rank(features: Tensor) -> float:
    """Effective rank, exp(entropy of the singular values' shares) of (N, F): 1 to min(N, F).

    Source: Roy & Vetterli 2007, "The effective rank"; on the features as they are, not centred, as
    in RankMe (Garrido et al. 2023, arXiv:2210.02885). Of features that are not finite it is NaN.
    """
    x = features.double()
    gram = x.T @ x if x.shape[1] <= x.shape[0] else x @ x.T
    return float(rank_of_gram(gram))


def rank_of_gram(gram: Tensor) -> Tensor:
    """`effective_rank` of features x from x^T x, (F, F) float64: a scalar, NaN where not finite."""
    if not bool(gram.isfinite().all()):
        return gram.new_tensor(math.nan)
    values = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt()
    shares = values / values.sum().clamp(min=1e-300)
    return torch.special.entr(shares).sum().exp()
