"""Codebook usage: over an epoch, not over a batch."""

from __future__ import annotations

import pytest
import torch

from genlab.metrics.codebook import CodebookUsage, perplexity


def test_perplexity_counts_equally_used_codes() -> None:
    assert perplexity(torch.tensor([5.0, 5.0, 5.0, 0.0])).item() == pytest.approx(3.0)
    assert perplexity(torch.tensor([9.0, 0.0])).item() == pytest.approx(1.0)
    p = torch.tensor([0.5, 0.25, 0.25])  # entropy 1.5 bits
    assert perplexity(100 * p).item() == pytest.approx(2**1.5)


def test_an_epoch_is_one_count_however_it_is_cut() -> None:
    codes = torch.randint(100, (40, 3, 3))
    results = []
    for size in (1, 7, 40):
        usage = CodebookUsage(128)
        for batch in codes.split(size):
            usage.update(batch)
        results.append({k: float(v) for k, v in usage.compute().items()})
    assert results[0] == results[1] == results[2]
    assert results[0]["codebook_usage"] == len(codes.unique()) / 128


def test_counts_of_ranks_are_added() -> None:
    usage = CodebookUsage(8)
    assert usage._reductions["counts"](torch.tensor([[1, 2], [3, 4]])).tolist() == [4, 6]  # type: ignore[misc,operator]


def test_does_not_stop_counting_at_the_precision_of_float32() -> None:
    usage = CodebookUsage(2)
    usage.counts += torch.tensor([2**25, 0])
    usage.update(torch.zeros(1, dtype=torch.int64))
    assert usage.counts[0, 0] == 2**25 + 1
