"""Reads of values by Python are seen on a CPU, and what only looks like one is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.testing import host_reads

Work = Callable[[Tensor], Any]
READS: dict[str, Work] = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "truth": lambda x: bool(x.sum()),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "to": lambda x: x.to("cpu"),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0),
    "mask": lambda x: x[x > 0],
    "into a mask": lambda x: x.index_put_((x > 0,), x.sum()),
    "masked_select": lambda x: x.masked_select(x > 0),
    "unique": lambda x: x.unique(),
    "bincount": lambda x: x.long().bincount(),
    "repeats": lambda x: x.repeat_interleave(x.long()),
    "one_hot": lambda x: torch.nn.functional.one_hot(x.long()),
    "equal": lambda x: torch.equal(x, x),
    "allclose": lambda x: torch.allclose(x, x),
}
MADE = ["torch.tensor", "torch.eye"]
PLAIN: dict[str, Work] = {
    "three arguments": lambda x: torch.where(x > 0, x, 0.0),
    "rows": lambda x: x[torch.arange(2)],
    "filled": lambda x: x.masked_fill(x > 0, 0.0),
    "repeats": lambda x: x.repeat_interleave(torch.full((4,), 2), output_size=8),
    "cast": lambda x: x.to(torch.float64),
    "shape": lambda x: float(len(x)),
}


def numbers() -> Tensor:
    return torch.arange(4.0)


@pytest.mark.parametrize("name", READS)
def test_a_read_is_noted_and_refused(name: str) -> None:
    seen: list[str] = []
    with host_reads.noted(seen):
        READS[name](numbers())
    assert seen
    assert "test_host_reads.py:" in seen[0]
    with pytest.raises(host_reads.HostRead), host_reads.refused():
        READS[name](numbers())


@pytest.mark.parametrize("name", PLAIN)
def test_what_reads_nothing_passes(name: str) -> None:
    with host_reads.refused():
        PLAIN[name](numbers())


def test_a_constant_is_noted_where_that_is_wanted() -> None:
    ready = numbers()
    for constants in (False, True):
        seen: list[str] = []
        with host_reads.noted(seen, constants):
            torch.tensor([1.0])
            torch.as_tensor(ready)
            torch.eye(2)
            torch.eye(2, device="cpu")
        assert [one.partition(" ")[0] for one in seen] == MADE * int(constants)


def test_torch_counts_steps_on_the_cpu_and_a_closure_reads_what_it_should_not() -> None:
    weight = torch.nn.Parameter(numbers())
    optimizer = torch.optim.AdamW([weight])
    seen: list[str] = []
    for reads in (False, True):

        def closure(reads: bool = reads) -> Any:
            weight.grad = torch.ones_like(weight)
            return float(weight.detach().sum()) if reads else 0.0

        with host_reads.noted(seen):
            optimizer.step(closure)
        assert bool(seen) == reads


def test_a_copy_that_nobody_waits_for_passes() -> None:
    with host_reads.refused():
        numbers().to("cpu", non_blocking=True)
