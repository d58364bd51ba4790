"""The running average of a network's weights against the loop that papers' scripts write."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from genlab.networks.ema import EMA
from genlab.networks.encoders.factory import encoder
from tests.benchmarks.timing import compare

pytestmark = pytest.mark.benchmarks


def naive(average: nn.Module, module: nn.Module) -> None:
    """As in the original repositories."""
    for mine, theirs in zip(average.parameters(), module.parameters(), strict=True):
        mine.data = 0.99 * mine.data + (1 - 0.99) * theirs.data
    for own, other in zip(average.buffers(), module.buffers(), strict=True):
        own.copy_(other)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_average_costs_a_fraction_of_a_naive_loop(name: str) -> None:
    network = encoder(name)
    ours, other = EMA(network, 0.99), copy.deepcopy(network).requires_grad_(False)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1)
    found = compare(
        f"EMA of {name}: naive loop against here",
        lambda: naive(other, network),
        lambda: ours.update(network, 10_000),
        rounds=20,
    )
    assert found >= 2.5
