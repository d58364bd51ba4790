"""Tensors come back bit for bit, NaN included, also where a flag on the device says so."""

from __future__ import annotations

import pytest
import torch

from genlab.training.engine.snapshot import Snapshot


@pytest.mark.parametrize("way", ["put_back", "where", "where not"])
def test_all_types_and_layouts_come_back(way: str) -> None:
    torch.manual_seed(0)
    whole = torch.randn(2, 6)
    tensors = [
        whole,
        whole[1:, ::2],
        whole.flatten(),
        torch.randn(3, dtype=torch.complex64),
        torch.tensor(complex(1, torch.nan), dtype=torch.complex128),
        torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last),
        torch.tensor([torch.nan, -torch.inf, 1e-45]),
        torch.tensor(3),
        torch.tensor([True, False]),
        torch.randn(3, dtype=torch.float64),
        torch.randn(3).bfloat16(),
        torch.nn.Parameter(torch.randn(6)),
        torch.empty(0),
    ]
    before = [t.detach().clone() for t in tensors]
    snapshot = Snapshot()
    for _ in range(2):
        snapshot.take(tensors)
        with torch.no_grad():
            for tensor in tensors:
                tensor.fill_(torch.nan if tensor.is_floating_point() else 1)
        changed = [t.detach().clone() for t in tensors]
        if way == "put_back":
            snapshot.put_back()
        else:
            snapshot.put_back_where(torch.tensor(way == "where"))
        expected = changed if way == "where not" else before
        torch.testing.assert_close(
            [t.detach() for t in tensors], expected, rtol=0, atol=0, equal_nan=True
        )
        with torch.no_grad():
            for tensor, old in zip(tensors, before, strict=True):
                tensor.copy_(old)
