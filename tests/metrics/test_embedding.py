from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from genlab.metrics.embedding import EmbeddingSpread, similarities
from genlab.metrics.geometry import effective_rank


def test_similarities_are_those_of_all_pairs() -> None:
    z1, z2 = torch.randn(7, 5), 3 * torch.randn(7, 5)
    cosines = F.normalize(z1) @ F.normalize(z2).T
    found = similarities(z1, z2)
    torch.testing.assert_close(found["positive_similarity"], cosines.diagonal().mean())
    others = cosines[~torch.eye(7, dtype=torch.bool)].mean()
    torch.testing.assert_close(found["negative_similarity"], others)
    assert not any(value.requires_grad for value in similarities(z1.requires_grad_(), z2).values())


def test_a_collapse_has_no_spread_and_even_directions_have_all() -> None:
    same = torch.randn(1, 16).expand(64, 16)
    assert float(similarities(same, same)["embedding_std"]) < 1e-6
    even = torch.randn(4096, 16)
    assert float(similarities(even, even)["embedding_std"]) == pytest.approx(0.25, rel=0.02)


def test_spread_of_batches_is_that_of_the_whole() -> None:
    z = torch.randn(100, 12) @ torch.randn(12, 12) + 1
    metric = EmbeddingSpread(12)
    for part in z.split(30):
        metric.update(part)
    found, unit = metric.compute(), F.normalize(z.double())
    torch.testing.assert_close(found["embedding_std"], unit.std(0, correction=0).mean())
    assert float(found["effective_rank"]) == pytest.approx(effective_rank(unit), rel=1e-6)
    collapsed = EmbeddingSpread(12)
    collapsed.update(z[:1].expand(50, 12))
    values = collapsed.compute()
    assert float(values["embedding_std"]) < 1e-6
    assert float(values["effective_rank"]) == pytest.approx(1, abs=1e-3)
