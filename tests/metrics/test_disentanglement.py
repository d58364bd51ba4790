"""MIG and DCI: golden values of disentanglement_lib, and codes that tell nothing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from genlab.metrics import dci, importances, mutual_information_gap
from genlab.metrics.disentanglement import mutual_information


def made(n: int = 600) -> tuple[Tensor, Tensor]:
    """Codes (n, 4) of factors (n, 3): the first, a mixture of two, a wave, a constant."""
    i = torch.arange(n)
    factors = torch.stack([i % 3, (i // 3) % 4, (i // 12) % 5], 1)
    x, v = i.double(), factors.double()
    codes = [
        v[:, 0] + 0.1 * (1 + 1.7 * x).sin(),
        0.5 * v[:, 0] + v[:, 1] + 0.1 * (2 + 1.3 * x).sin(),
        (0.31 * x).sin(),
        0 * x,
    ]
    return torch.stack(codes, 1), factors


def test_gaps_of_the_reference_code() -> None:
    found = mutual_information_gap(*made())
    assert float(found.mean()) == pytest.approx(0.3746460291593815, abs=1e-12)
    expected = torch.tensor([0.314618, 0.741309, 0.068011]).double()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


def test_a_code_that_is_the_factor_has_a_gap_of_one() -> None:
    codes, factors = made()
    own = torch.stack([factors[:, 1].double(), codes[:, 3]], 1)
    assert float(mutual_information_gap(own, factors[:, 1:2])) == pytest.approx(1)
    assert float(mutual_information_gap(0 * codes, factors).abs().max()) == 0  # not NaN


def test_bins_alone_look_like_information() -> None:
    """An independent code against five levels: (20 - 1)(5 - 1) / 2n nats in the mean."""
    generator = torch.Generator().manual_seed(0)
    found = [
        float(
            mutual_information(
                torch.randint(20, (600,), generator=generator),
                torch.randint(5, (600,), generator=generator),
            )
        )
        for _ in range(40)
    ]
    assert sum(found) / 40 == pytest.approx(19 * 4 / 1200, rel=0.1)


def test_factors_and_codes_that_cannot_be_compared_are_refused() -> None:
    codes, factors = made()
    with pytest.raises(ValueError, match="MIG requires two codes, got 1"):
        mutual_information_gap(codes[:, :1], factors)
    with pytest.raises(ValueError, match="factor 0 has one level"):
        mutual_information_gap(codes, 0 * factors)


def test_purity_of_importances() -> None:
    rows = [[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.0, 0.0, 0.0]]
    disentangled, complete = dci(torch.tensor(rows, dtype=torch.float64))
    assert disentangled == pytest.approx(0.3560574710, abs=1e-10)
    assert complete == pytest.approx(0.4480924545, abs=1e-9)
    assert dci(torch.eye(3)) == pytest.approx((1, 1))


def test_no_importance_is_no_purity_and_a_single_code_or_factor_is_refused() -> None:
    assert dci(torch.zeros(4, 3)) == (0, 0)
    for shape, words in (((1, 3), "got 1 and 3"), ((4, 1), "got 4 and 1")):
        with pytest.raises(ValueError, match=f"DCI requires two codes and two factors, {words}"):
            dci(torch.rand(shape))


def test_trees_find_which_code_tells_which_factor() -> None:
    codes, factors = made(240)
    own = torch.stack([factors[:, 0].double(), codes[:, 2], factors[:, 1].double()], 1)
    found, accuracy = importances(own, factors[:, :2], own, factors[:, :2])
    assert found.argmax(0).tolist() == [0, 2]
    assert accuracy == 1
    assert min(dci(found)) > 0.3
