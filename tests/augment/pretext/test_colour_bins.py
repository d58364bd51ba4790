"""Bins of the colour plane: which, how a pixel is shared, and what a rare one weighs."""

from __future__ import annotations

import pytest
import torch

from genlab.augment.lab import rgb_to_lab
from genlab.augment.pretext.colour_bins import (
    annealed_mean,
    bin_centres,
    rebalancing,
    soft_code,
)
from genlab.data import CIFAR10
from tests.methods.shortcuts import held_out


def test_bins_are_those_that_colours_of_bytes_fill() -> None:
    """CO2."""
    centres = bin_centres()
    assert len(set(centres)) == len(centres) == 261
    assert (0.0, 0.0) in centres
    inner = torch.cartesian_prod(*[torch.arange(0, 256, 15) / 255] * 3).T.reshape(1, 3, -1, 1)
    found = (rgb_to_lab(inner)[0, 1:, :, 0].T / 10).round() * 10
    assert {(float(a), float(b)) for a, b in found} <= set(centres)


def test_a_soft_code_is_a_gaussian_of_the_nearest_bins() -> None:
    """CO5."""
    line = torch.tensor([-10.0, 0.0, 10.0], dtype=torch.float64)
    bins, share = soft_code(
        torch.tensor([[3.0, -4.0]], dtype=torch.float64), torch.cartesian_prod(line, line), 5
    )
    expected = [0.406239, 0.272310, 0.182535, 0.122357, 0.016559]
    assert share[0].tolist() == pytest.approx(expected, abs=1e-6)
    assert bins[0, 0] == 4


def test_weights_have_mean_one_and_an_empty_bin_none_that_is_infinite() -> None:
    """CO3."""
    found = rebalancing(torch.tensor([50, 30, 15, 5]))
    assert found.tolist() == pytest.approx([0.760259, 1.036717, 1.425486, 1.900648], abs=1e-6)
    for uniform in (0.0, 0.5, 1.0):
        empty = rebalancing(torch.tensor([50, 50, 0]), uniform)
        assert bool(empty.isfinite().all())
        assert empty[:2].tolist() == pytest.approx([1, 1])
    assert rebalancing(torch.zeros(5, dtype=torch.int64)).tolist() == pytest.approx([1.0] * 5)


def test_the_annealed_mean_is_sharper_than_the_mean() -> None:
    centres = torch.tensor([[0.0, 0.0], [100.0, 50.0]])
    logits = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1)
    share = torch.tensor([0.0, 1.0]).div(0.38).softmax(0)[1]
    found = annealed_mean(logits, centres).flatten()
    torch.testing.assert_close(found, share * centres[1])
    assert float(found[0]) > 100 * float(torch.tensor(1.0).sigmoid())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_most_pixels_of_photographs_are_grey() -> None:
    """CO2, CO6."""
    try:
        image = held_out(CIFAR10(download=False))
    except ValueError as error:
        pytest.skip(str(error))
    ab = rgb_to_lab(image)[:, 1:].movedim(1, -1).flatten(0, 2)
    found = (ab / 10).round().unique(dim=0, return_counts=True)[1]
    assert len(found) == pytest.approx(193, abs=15)
    share = found / found.sum()
    assert float(share.max()) == pytest.approx(0.285, abs=0.02)
    assert float(-(share * share.log()).sum()) == pytest.approx(3.00, abs=0.08)
