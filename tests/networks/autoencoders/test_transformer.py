"""Laws of the CausalTransformer, and its own refusals."""

from __future__ import annotations

from functools import partial

import pytest

from genlab.networks.autoencoders.transformer import CausalTransformer
from tests.networks.autoencoders import prior_laws as laws

MAKE = partial(CausalTransformer, width=8, depth=4)


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


def test_refuses_heads_that_do_not_divide_the_width() -> None:
    with pytest.raises(ValueError, match="width 30 must be a multiple of heads 4"):
        CausalTransformer(8, (4, 4), width=30, heads=4)
