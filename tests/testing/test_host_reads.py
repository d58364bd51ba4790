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
    for constants in (False, True):
        seen: list[str] = []
        with host_reads.noted(seen, constants):
            torch.tensor([1.0])
            torch.as_tensor(numbers())
        assert len(seen) == int(constants), seen
