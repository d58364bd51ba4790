"""A gradient is finite if every element is, whatever its sum and its norm."""

from __future__ import annotations

import torch

from genlab.optim.finiteness import all_finite, gradients_finite


def test_gradients_are_finite_even_where_their_sum_and_norm_are_not() -> None:
    large = [torch.full((4,), 3e38), torch.full((2,), -3e38)]
    assert gradients_finite(large)
    assert gradients_finite(large, torch.tensor(torch.inf))
    for wrong in (torch.nan, torch.inf, -torch.inf):
        assert not gradients_finite([*large, torch.tensor([1.0, wrong])])
        assert not gradients_finite([torch.tensor([1.0, wrong])], torch.tensor(torch.nan))


def test_tensors_without_elements_are_finite() -> None:
    assert all_finite([])
    assert all_finite([torch.empty(0)])
    assert not all_finite([torch.empty(0, 3), torch.tensor([torch.inf])])
