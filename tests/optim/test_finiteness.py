"""A gradient is finite if every element is, whatever its sum and its norm."""

from __future__ import annotations

import torch

from genlab.optim.finiteness import gradients_finite


def test_gradients_are_finite_even_where_their_sum_and_norm_are_not() -> None:
    large = [torch.full((4,), 3e38), torch.full((2,), -3e38)]
    assert gradients_finite(large)
    assert gradients_finite(large, torch.tensor(torch.inf))
    for wrong in (torch.nan, torch.inf, -torch.inf):
        assert not gradients_finite([*large, torch.tensor([1.0, wrong])])
        assert not gradients_finite([torch.tensor([1.0, wrong])], torch.tensor(torch.nan))
