"""ActNorm: when it takes its start from data, from which data, and what remembers it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from genlab.networks.flows.actnorm import MIN_STD, ActNorm
from tests.conftest import TwoRanks


def batch(n: int = 64) -> torch.Tensor:
    factor = torch.tensor([1.0, 5.0, 0.1])[:, None, None]
    return torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(5)) * factor + 2


def test_the_first_training_batch_is_standardised_and_no_later_one() -> None:
    layer = ActNorm(3)
    z, log_det = layer(batch())
    torch.testing.assert_close(z.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(z.var((0, 2, 3), unbiased=False), torch.ones(3))
    assert log_det[0].item() == pytest.approx(16 * float(-batch().std((0, 2, 3)).log().sum()), 1e-2)
    kept = copy.deepcopy(layer.state_dict())
    layer(batch() * 7)
    assert all(torch.equal(kept[k], v) for k, v in layer.state_dict().items())


def test_evaluation_and_sampling_do_not_start_it() -> None:
    layer = ActNorm(3)
    layer.eval()
    x = batch()
    torch.testing.assert_close(layer(x)[0], x)
    layer.train()
    torch.testing.assert_close(layer.inverse(x)[0], x)
    assert not layer.initialised
    layer(x)
    assert layer.initialised


@pytest.mark.parametrize("before", [False, True])
def test_a_loaded_one_does_not_start_again(before: bool) -> None:
    source, target = ActNorm(3), ActNorm(3)
    source(batch())
    if before:
        target(batch() * 3)
    target.load_state_dict(source.state_dict())
    target.train()
    target(batch() * 9 + 4)
    for key, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[key], value), key


def test_one_that_was_never_started_starts_after_loading_even_into_a_started_one() -> None:
    layer = ActNorm(3)
    layer(batch() * 3)
    layer.load_state_dict(ActNorm(3).state_dict())
    z, _ = layer(batch())
    torch.testing.assert_close(z.var((0, 2, 3), unbiased=False), torch.ones(3))


def test_a_constant_channel_is_not_blown_up() -> None:
    layer = ActNorm(3)
    x = batch()
    x[:, 1] = 2.0
    assert layer(x)[0].isfinite().all()
    x[:, 1] += 2.832e-3
    assert layer(x)[0][:, 1].abs().max() <= 2.832e-3 / MIN_STD + 1e-3


def test_a_single_value_per_channel_is_centred_and_finite() -> None:
    z, log_det = ActNorm(3)(torch.tensor([[4.0, -1.0, 0.0]]))
    assert z.abs().max() == 0
    assert log_det.item() == 0


def start(rank: int, world: int) -> dict[str, Any]:
    """The start from an uneven share of the batch on each rank."""
    x = batch()
    if world > 1:
        x = x[:48] if rank == 0 else x[48:]
    layer = ActNorm(3)
    z, _ = layer(x)
    return {"state": dict(layer.state_dict()), "first": z[:0]}


def test_two_ranks_start_as_one_process_does(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.networks.flows.test_actnorm:start", atol=1e-5)
