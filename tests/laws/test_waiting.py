"""What runs at every step never makes Python wait for an accelerator.

Played on a CPU: everything takes the accelerator's way, and what would wait there is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import pytest
import torch

from genlab.augment import PRESETS, Augment, views_from
from genlab.augment.ct_ops import CT_OPS
from genlab.internals import torch_parts
from genlab.losses import contrastive, info_nce, nt_xent
from genlab.networks.flows.invertible_conv import InvertibleConv
from genlab.testing.host_reads import Looking, noted


def far() -> ExitStack:
    """Everything takes the accelerator's way."""
    stack = ExitStack()
    stack.enter_context(mock.patch.object(torch_parts, "on_host", return_value=False))
    return stack


@contextmanager
def held() -> Iterator[None]:
    """Python's numbers become no tensors, and values are not looked at."""
    fault = AssertionError("torch.tensor waits: augment.draws.constant does once")
    seen: list[str] = []
    with far(), mock.patch("torch.tensor", side_effect=fault), Looking(seen):
        yield
    assert not seen, f"{', '.join(seen)}: Python waits"


def twice(work: Callable[[int], Any]) -> None:
    """Once for what is made at the first batch, then held."""
    with far():
        work(0)
    with held():
        work(1)


def images() -> torch.Tensor:
    return torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("preset", PRESETS)
def test_views(preset: str) -> None:
    views = views_from(preset)
    assert views is not None
    twice(lambda seed: views(images(), seed))


def test_augmentation() -> None:
    augment = Augment(flip=True, translate=2, rotate=10.0, erase=0.5, cutout=4, contrast=0.3)
    twice(lambda seed: augment(images(), seed))


def test_contrastive_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrastive, "BLOCK", 4)
    monkeypatch.setattr(contrastive, "FULL", 4)

    def work(seed: int) -> None:
        torch.manual_seed(seed)
        z1, z2, queue = (torch.randn(16, 8, requires_grad=True) for _ in range(3))
        (nt_xent(z1, z2) + info_nce(z1, z2, queue.detach())).backward()

    twice(work)


def test_no_constant_of_a_step_is_made_on_the_cpu() -> None:
    x, seen = torch.rand(6, 4, 8, 8), list[str]()
    mixing = InvertibleConv(4)
    given = torch.rand(6, 4)
    for watch in (nullcontext(), noted(seen, constants=True)):  # once for what is made once
        with watch:
            mixing(x)
            for act in CT_OPS.values():
                act(x[:, :3], given)
    assert not seen


def test_the_watch_sees() -> None:
    """What it is there for."""
    reads: list[Callable[[torch.Tensor], Any]] = [
        lambda x: float(x.sum()),
        lambda x: x[x > 0.5],
        lambda x: x * torch.tensor([2.0]),
    ]
    for work in reads:
        with pytest.raises(AssertionError, match="waits"), held():
            work(images())
