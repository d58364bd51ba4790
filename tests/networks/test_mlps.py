"""Widths, norms and refusals of the dense stack."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from genlab.networks import mlp


def kinds(network: nn.Sequential) -> list[str]:
    return [type(layer).__name__ for layer in network]


def test_activation_and_norm_after_all_but_the_last() -> None:
    assert kinds(mlp(4, 3)) == ["Linear"]
    network = mlp(4, 5, 6, 3, activation="tanh", norm="batch")
    assert kinds(network) == ["Linear", "BatchNorm1d", "Tanh"] * 2 + ["Linear"]
    assert network(torch.randn(2, 4)).shape == (2, 3)


def test_last_norm_standardises_the_output_and_learns_nothing() -> None:
    network = mlp(4, 8, 3, norm="batch", last_norm=True)
    assert kinds(network) == ["Linear", "BatchNorm1d", "ReLU", "Linear", "BatchNorm1d"]
    out = network(torch.randn(256, 4))
    torch.testing.assert_close(out.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(0, correction=0), torch.ones(3), atol=1e-3, rtol=0)
    assert [p.shape for p in network[-2:].parameters()] == [(3, 8)]


@pytest.mark.parametrize(
    ("dims", "options", "said"),
    [
        ((), {}, "at least 1"),
        ((0, 3), {}, "at least 1"),
        ((3,), {"norm": "group"}, "choose from batch, layer"),
        ((3, 3), {"activation": "relo"}, "choose from relu"),
    ],
)
def test_wrong_choices_are_refused(
    dims: tuple[int, ...], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        mlp(4, *dims, **options)
