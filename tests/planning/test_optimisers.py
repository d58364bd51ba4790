"""Memory and arithmetic of an optimiser's update as on a GPU: all tensors in lists."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.optim.optimizer import _default_to_fused_or_foreach

from genlab.planning.counting import Counting
from genlab.planning.fake import as_on_cuda
from genlab.planning.valueless import answered

SIZES = (300, 500, 200)
ALL = 4 * sum(SIZES)  # bytes of floats


def temporary(kind: Any, **settings: Any) -> int:
    """Bytes that live at most during a second update beside what lives before it."""
    with answered(), as_on_cuda(), FakeTensorMode():
        weights = [nn.Parameter(torch.empty(size)) for size in SIZES]
        for one in weights:
            one.grad = torch.empty_like(one)
        optimizer = kind(weights, lr=0.1, **settings)
        optimizer.step()
        with Counting() as count:
            optimizer.step()
    return sum(count.peak.values())


@pytest.mark.parametrize(
    ("kind", "settings", "lists"),
    [
        (torch.optim.AdamW, {"weight_decay": 0.1}, 1),  # roots of the second moments
        (torch.optim.Adam, {"weight_decay": 0.1}, 1),  # gradient with decay, gone before the roots
        (torch.optim.SGD, {"momentum": 0.9}, 0),
        (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, 1),
    ],
)
def test_lists_that_live_at_once(
    kind: type[torch.optim.Optimizer], settings: dict[str, Any], lists: int
) -> None:
    assert temporary(kind, **settings) == pytest.approx(lists * ALL, abs=16)


def test_on_a_cpu_itself_no_list_is_made() -> None:
    weight: list[Tensor] = [nn.Parameter(torch.ones(3))]
    with as_on_cuda():
        assert _default_to_fused_or_foreach(weight, differentiable=False) == (False, True)
    assert _default_to_fused_or_foreach(weight, differentiable=False) == (False, False)


def test_gradients_without_values_are_clipped_in_a_list() -> None:
    with as_on_cuda(), FakeTensorMode():
        weights = [nn.Parameter(torch.ones(size)) for size in SIZES]
        for one in weights:
            one.grad = torch.ones_like(one)
        with Counting() as count:
            nn.utils.clip_grad_norm_(weights, 1.0)
    assert count.kernels.started < 3 * len(SIZES)  # one by one each has a norm, a clone, a product
