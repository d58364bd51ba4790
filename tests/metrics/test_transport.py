"""Wasserstein, sliced Wasserstein and Jensen-Shannon: golden values and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from genlab.metrics import jensen_shannon, sliced_wasserstein, wasserstein
from tests.networks.flows.golden import first, second


def test_sets_of_unequal_size() -> None:
    """SciPy and POT give these; sorting and cutting off gives .804."""
    x, y = first(5, 1)[:, 0], second(8, 1)[:, 0]
    assert float(wasserstein(x, y)) == pytest.approx(0.2748375110465115, abs=1e-14)
    assert float(wasserstein(x, y, 2)) == pytest.approx(0.1653305550127136, abs=1e-14)
    assert float(wasserstein(x, y)) == pytest.approx(wasserstein_distance(x, y), abs=1e-14)
    columns = wasserstein(torch.stack([x, 2 * x], 1), torch.stack([y, 2 * y], 1), 2)
    torch.testing.assert_close(columns, columns[0] * torch.tensor([1.0, 4.0]).double())


def test_sliced_values_of_pot_squared() -> None:
    """.1258 with 1,000 directions, .1251 with 10,000: POT's root."""
    x, y = first(50, 3), second(50, 3)
    assert math.sqrt(sliced_wasserstein(x, y, 10_000)) == pytest.approx(0.1253, abs=5e-4)
    assert sliced_wasserstein(x, y) == sliced_wasserstein(x, y)  # directions are the seed's
    assert sliced_wasserstein(x, y) != sliced_wasserstein(x, y, seed=1)


def test_a_shift_is_its_square_over_the_width() -> None:
    x = first(60, 3)
    shift = torch.tensor([3.0, 0.0, 0.0]).double()
    assert sliced_wasserstein(x, x + shift, 20_000) == pytest.approx(3, rel=0.02)
    assert sliced_wasserstein(x, x) < 1e-25


def test_jensen_shannon_in_nats_is_no_root() -> None:
    p, q = first(1, 5)[0].abs(), second(1, 5)[0].abs()
    assert jensen_shannon(p, q) == pytest.approx(0.0190789183, abs=1e-10)
    assert jensen_shannon(p, q) / math.log(2) == pytest.approx(0.0275250608, abs=1e-10)
    assert math.sqrt(jensen_shannon(p, q)) == pytest.approx(jensenshannon(p, q), abs=1e-12)
    apart = np.eye(2)
    assert jensen_shannon(*map(torch.from_numpy, apart)) == pytest.approx(math.log(2))


def test_wrong_sets_are_refused() -> None:
    x = torch.ones(3)
    with pytest.raises(ValueError, match="requires numbers and p of at least 1"):
        wasserstein(x[:0], x)
    with pytest.raises(ValueError, match="requires numbers and p of at least 1"):
        wasserstein(x, x, 0.5)
    with pytest.raises(ValueError, match="is not of counts"):
        jensen_shannon(x, -x)
