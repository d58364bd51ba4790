"""Precision, recall, density and coverage of samples, by nearest neighbours in feature space."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK = 2**23  # distances that exist at a time


def manifold_overlap(
    generated: Tensor, real: Tensor, k: int = 3, density_k: int = 5
) -> dict[str, float]:
    """Overlap of two sets of features, each measured in the balls around the other's points.

    A ball reaches from a point to its k-th nearest other one of the same set.

    Args:
        generated: features (N, F).
        real: features (M, F).
        k: neighbours for precision and recall.
        density_k: neighbours for density and coverage.

    Returns:
        ``precision``: share of the generated that lie in a real one's ball; ``recall``: of the
        real in a generated one's; ``density``: mean number of real balls around a generated one,
        over k: 1 where both come from one distribution; ``coverage``: share of the real balls that
        contain a generated one: 1 - 2^-k there.

    Raises:
        ValueError: a set of no more than k images.

    Source: precision and recall: Kynkäänniemi et al. 2019, arXiv:1904.06991, k = 3; density and
    coverage: Naeem et al. 2020, arXiv:2002.09797, k = 5. Departure: in float32, centred.
    """
    centre = real.float().mean(0)
    fake, real = generated.float() - centre, real.float() - centre
    most = max(k, density_k)
    real_reach = _reaches(real, most)  # (M, most)
    fake_reach = _reaches(fake, k)[:, k - 1]  # (N,)
    near, far = real_reach[:, k - 1], real_reach[:, density_k - 1]
    inside, balls, start = 0, 0, 0
    recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    closest = torch.full_like(near, torch.inf)
    for d in _squares(fake, real):  # (block, M)
        inside += int((d <= near).any(1).sum())
        balls += int((d <= far).sum())
        recalled |= (d <= fake_reach[start : start + len(d), None]).any(0)
        closest = torch.minimum(closest, d.amin(0))
        start += len(d)
    return {
        "precision": inside / len(fake),
        "recall": float(recalled.double().mean()),
        "density": balls / (len(fake) * density_k),
        "coverage": float((closest <= far).double().mean()),
    }


def neighbours(query: Tensor, bank: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k nearest rows of the bank, nearest first, by Euclidean distance.

    Args:
        query: (N, F).
        bank: (M, F).
        k: number of neighbours, at most M.

    Returns:
        Distances (N, k) float64, and rows of the bank (N, k).
    """
    centre = bank.float().mean(0)
    x, y = query.float() - centre, bank.float() - centre
    blocks = [d.topk(k, dim=1, largest=False).indices for d in _squares(x, y)]
    rows = torch.cat(blocks) if blocks else torch.zeros(0, k, dtype=torch.int64)
    columns = [(query - bank[column]).double().norm(dim=1) for column in rows.T]
    exact, order = torch.stack(columns, 1).sort(dim=1, stable=True)  # float32 blurs near pairs
    return exact, rows.gather(1, order)


def _reaches(features: Tensor, k: int) -> Tensor:
    """Squared distances from each feature to its k nearest other ones: (N, F) -> (N, k)."""
    if not 0 < k < len(features):
        raise ValueError(f"k {k} requires more than {k} images in each set, got {len(features)}")
    found = [d.topk(k + 1, dim=1, largest=False).values for d in _squares(features, features)]
    return torch.cat(found)[:, 1:]  # each is its own nearest


def _squares(query: Tensor, bank: Tensor) -> Iterator[Tensor]:
    """Squared distances in blocks of rows: (N, F), (M, F) -> blocks of (N, M)."""
    lengths = bank.square().sum(1)
    for part in query.split(max(1, BLOCK // max(len(bank), 1))):
        d = torch.addmm(lengths, part, bank.T, alpha=-2)
        yield d.add_(part.square().sum(1)[:, None]).clamp_(min=0)
