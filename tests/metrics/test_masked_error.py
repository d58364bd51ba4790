"""Errors of masked places: of the split, not of its batches."""

from __future__ import annotations

import pytest
import torch

from genlab import losses
from genlab.metrics import MaskedError, TokenSpread
from tests.conftest import TwoRanks

MASKED = torch.tensor([[1, 0, 0], [1, 1, 0], [0, 1, 1]], dtype=torch.bool)
TARGET = torch.tensor([[[1.0], [3.0], [5.0]], [[2.0], [4.0], [1.0]], [[0.0], [1.0], [3.0]]])


def measured(rank: int, world: int) -> dict[str, torch.Tensor]:
    """Three images dealt to ranks: one of two has two of them."""
    error, spread, rows = MaskedError(), TokenSpread(3, 4), slice(rank, None, world)
    error.update(**losses.patch_sums(torch.zeros_like(TARGET[rows]), TARGET[rows], MASKED[rows]))
    tokens = torch.sin(torch.arange(36.0)).view(3, 3, 4)
    spread.update(tokens[rows])
    return error.compute() | {"spread": spread.compute()}


def test_on_paper() -> None:
    """Squares 1; 4, 16; 1, 9 of the masked; from the visible means 4, 1 and 0: 9; 1, 9; 1, 9."""
    found = measured(0, 1)
    assert float(found["loss"]) == pytest.approx(31 / 5)
    assert float(found["explained"]) == pytest.approx(1 - 31 / 29)
    tokens = torch.sin(torch.arange(36.0)).view(3, 3, 4)
    expected = losses.spread_over_images(tokens)
    assert float(found["spread"]) == pytest.approx(float(expected), rel=1e-5)


def test_two_ranks_are_one(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.metrics.test_masked_error:measured", atol=1e-9)
