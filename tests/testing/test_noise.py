"""Noise of rows is drawn on the CPU, for tensors on every device, and for a GPU's fused dropout."""

from __future__ import annotations

import torch
from torch import nn

from genlab.testing.batches import everything, rows_of
from genlab.testing.noise import RowNoise

ROWS = rows_of({"image": torch.zeros(6, 1)}, everything)


def test_draws_lie_where_they_are_wanted() -> None:
    with RowNoise(ROWS, 1):
        drawn = [
            torch.rand(6, device="meta"),
            torch.randn_like(torch.empty(6, device="meta")),
            torch.randint(9, (6,), device="meta"),
            torch.empty(6, device="meta").uniform_(),
        ]
    assert {one.device.type for one in drawn} == {"meta"}
    assert [one.dtype for one in drawn].count(torch.float32) == 3


def test_dropout_in_one_kernel_drops_what_dropout_drops() -> None:
    image = torch.rand(6, 5)
    with RowNoise(ROWS, 1):
        plain = nn.functional.dropout(image, 0.3)
    with RowNoise(ROWS, 1):
        fused, kept = torch.native_dropout(image, 0.3, True)
    torch.testing.assert_close(fused, plain)
    assert 0 < int(kept.sum()) < image.numel()
    with RowNoise(ROWS, 1):
        assert torch.equal(torch.native_dropout(image, 0.3, False)[0], image)
