"""Laws of the PixelCNN, and its own refusals."""

from __future__ import annotations

from functools import partial

import pytest

from genlab.networks.autoencoders.pixelcnn import PixelCNN
from tests.networks.autoencoders import prior_laws as laws

MAKE = partial(PixelCNN, width=8, depth=4)


@pytest.mark.parametrize("shape", [(5, 5), (3, 6), (1, 4), (4, 1)])
def test_sees_all_codes_before_and_none_after(shape: tuple[int, int]) -> None:
    laws.causality(MAKE, shape)


def test_probabilities_of_all_grids_sum_to_one() -> None:
    laws.every_grid_sums_to_one(MAKE)


def test_samples_follow_the_model() -> None:
    laws.samples_follow_the_model(MAKE)


def test_sampling_agrees_with_forward() -> None:
    laws.sampling_agrees_with_forward(MAKE, (4, 5))


def test_labels() -> None:
    laws.labels(MAKE)


def test_every_parameter_learns() -> None:
    laws.every_parameter_learns(MAKE)


def test_refuses_an_even_kernel() -> None:
    with pytest.raises(ValueError, match="kernel_size 4 must be odd"):
        PixelCNN(8, (4, 4), kernel_size=4)
