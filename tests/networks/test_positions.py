"""Fixed positions: the reference's values, column first."""

from __future__ import annotations

import pytest
import torch

from genlab.networks.positions import sine_positions


def test_the_first_half_encodes_the_column() -> None:
    """MA6."""
    table = sine_positions(16, (4, 4)).double()
    first = [0.841471, 0.099833, 0.01, 0.001, 0.540302]
    assert table[1, :5].tolist() == pytest.approx(first, abs=1e-6)
    assert table[1, 8:].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert float(table.sum()) == pytest.approx(116.926148911, abs=1e-4)  # the class row is zero


def test_a_grid_may_be_wide() -> None:
    wide, square = sine_positions(8, (2, 5)), sine_positions(8, (5, 5))
    assert torch.equal(wide, square[:10])


def test_a_width_that_4_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="a width that 4 divides, got 18"):
        sine_positions(18, (2, 2))
