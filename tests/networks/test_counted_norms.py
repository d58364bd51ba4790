"""Batch norm of some rows: as if the others were not there, on any number of processes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from genlab import distributed
from genlab.networks.counted_norms import through
from genlab.networks.mlps import mlp
from tests.conftest import TwoRanks

COUNTED = torch.tensor([1, 0, 1, 1, 0, 1, 0, 0], dtype=torch.bool)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = mlp(5, 4, 3, norm="batch").double()
    for parameter in layers.parameters():
        nn.init.normal_(parameter)
    return layers


def rows() -> Tensor:
    return torch.sin(torch.arange(40.0).double().square()).view(8, 5)


def test_rows_that_do_not_count_are_as_if_they_were_not_there() -> None:
    some, plain = network(), network()
    found = through(some, rows(), COUNTED)
    expected = plain(rows()[COUNTED])
    torch.testing.assert_close(found[COUNTED], expected)
    found[COUNTED].square().sum().backward()
    expected.square().sum().backward()
    for one, other in zip(some.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    torch.testing.assert_close(some.state_dict(), plain.state_dict())  # running statistics
    with pytest.raises(AssertionError):
        torch.testing.assert_close(found[COUNTED], network()(rows())[COUNTED])


def test_without_rows_to_count_and_outside_training_it_is_plain() -> None:
    assert torch.equal(through(network(), rows()), network()(rows()))
    still = network().eval()
    before = copy.deepcopy(still.state_dict())
    assert torch.equal(through(still, rows(), COUNTED), still(rows()))
    torch.testing.assert_close(still.state_dict(), before, rtol=0, atol=0)


def test_no_row_that_counts_is_no_fault() -> None:
    assert through(network(), rows(), torch.zeros_like(COUNTED)).isfinite().all()


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_near(kind: torch.dtype) -> None:
    layers = network().float()
    with torch.autocast("cpu", kind):
        half = through(layers, rows().float(), COUNTED)
    assert half.dtype == kind
    torch.testing.assert_close(half.double(), through(network(), rows(), COUNTED), rtol=0, atol=0.1)


def dealt(rank: int, world: int) -> dict[str, Tensor]:
    """Rank zero of two has three rows that count, the other one: sums over ranks."""
    layers, mine = network(), slice(rank, None, world)
    counted = COUNTED.clone()
    counted[[4, 3]] = torch.tensor([True, False])
    found = through(layers, rows()[mine], counted[mine])
    loss = (found[counted[mine]] ** 3).sum()
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in layers.parameters() if p.grad is not None])
    sums = distributed.all_reduce_sum(torch.cat([loss.detach()[None], gradient]))
    buffers = {name: layers[1].get_buffer(f"running_{name}") for name in ("mean", "var")}
    return {"sums": sums} | buffers


def test_two_ranks_with_unequal_rows_are_one(two_ranks: TwoRanks) -> None:
    two_ranks.assert_same("tests.networks.test_counted_norms:dealt", atol=1e-10)
