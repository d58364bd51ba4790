"""Active units: the definition, and that batches and ranks merge exactly."""

from __future__ import annotations

import pytest
import torch

from genlab.metrics import ActiveUnits
from tests.conftest import TwoRanks


def test_counts_latents_whose_mean_varies() -> None:
    metric = ActiveUnits(3)
    base = torch.linspace(-1, 1, 50)
    metric.update(torch.stack([base, 0.01 * base, torch.full_like(base, 7.0)], dim=1))
    assert metric.compute() == 1


def test_the_threshold_is_a_variance() -> None:
    signs = torch.tensor([-1.0, 1.0])[:, None]
    for deviation, active in ((0.099, 0.0), (0.101, 1.0)):
        metric = ActiveUnits(1)
        metric.update(5 + deviation * signs)
        assert metric.compute() == active


def test_batches_merge_as_one_even_where_each_alone_is_constant() -> None:
    metric = ActiveUnits(1)
    metric.update(torch.zeros(4, 1))
    metric.update(torch.ones(2, 1))
    assert metric.compute() == 1


@pytest.mark.ddp
def test_two_ranks_with_different_halves_equal_one_process(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.metrics.programs:active_units", atol=0)
