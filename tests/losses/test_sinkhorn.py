"""Sinkhorn's codes: the reference's values, the samples of all ranks, half precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab import losses
from tests.conftest import TwoRanks
from tests.losses.golden_embeddings import x


def slow(scores: Tensor, temperature: float, iterations: int, samples: int | None = None) -> Tensor:
    """Entry by entry, after the reference: totals 1 / K and 1 / B, at last 1 for each sample."""
    n, k = scores.shape
    said = samples or n  # B
    q = [[float(torch.exp(scores[b, j] / temperature)) for b in range(n)] for j in range(k)]
    for _ in range(iterations):
        q = [[v / sum(row) / k for v in row] for row in q]
        totals = [sum(row[b] for row in q) for b in range(n)]
        q = [[v / totals[b] / said for b, v in enumerate(row)] for row in q]
    return torch.tensor(q, dtype=torch.float64).T * said


def test_codes_are_the_references() -> None:
    scores = x(2, 8, 6)
    for temperature, iterations in ((0.05, 3), (0.5, 1), (1.0, 10)):
        found = losses.sinkhorn(scores, temperature, iterations)
        torch.testing.assert_close(found, slow(scores, temperature, iterations), rtol=0, atol=1e-12)
        torch.testing.assert_close(found.sum(1), torch.ones(8).double())


@pytest.mark.parametrize("samples", [1, 5, 4096])
def test_the_number_of_samples_cancels(samples: int) -> None:
    """IB2: masked patches of all processes need not be counted."""
    found = losses.sinkhorn(x(2, 8, 6), 0.5, 3)
    torch.testing.assert_close(found, slow(x(2, 8, 6), 0.5, 3, samples), rtol=0, atol=1e-7)


def test_prototypes_get_equal_totals_in_the_end() -> None:
    found = losses.sinkhorn(x(2, 12, 6), 0.5, 100)
    torch.testing.assert_close(found.sum(0), torch.full((6,), 2.0).double())


def test_codes_are_constants_and_a_shift_of_a_prototype_changes_none() -> None:
    scores = x(2, 8, 6).requires_grad_()
    found = losses.sinkhorn(scores)
    assert not found.requires_grad
    shift = torch.linspace(-1, 1, 6).double()
    torch.testing.assert_close(losses.sinkhorn(scores + shift), found)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_full(kind: torch.dtype) -> None:
    """The exponential of 1 / 0.05 is beyond half precision."""
    scores = x(2, 8, 6).to(kind)
    with torch.autocast("cpu", dtype=kind):
        found = losses.sinkhorn(scores)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, losses.sinkhorn(scores.float()))
    assert losses.sinkhorn(1000 * x(2, 8, 6).float()).isfinite().all()


def test_samples_of_all_ranks_are_assigned_together(two_ranks: TwoRanks) -> None:
    one, _ = two_ranks.results("tests.losses.programs_sinkhorn:codes")
    assert float((losses.sinkhorn(x(1, 10, 6)[:7]) - one["codes"][0][:7]).abs().max()) > 0.01
    two_ranks.assert_same("tests.losses.programs_sinkhorn:codes", atol=1e-12)


def test_what_is_out_of_range_is_refused() -> None:
    with pytest.raises(ValueError, match="temperature 0 must be above 0"):
        losses.sinkhorn(x(0, 2, 2), 0)
    with pytest.raises(ValueError, match="iterations 0 must be at least 1"):
        losses.sinkhorn(x(0, 2, 2), iterations=0)
