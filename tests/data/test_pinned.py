"""Pinned memory: with a GPU in use only, in place for what workers made, held until it is copied.

CUDA is a stand-in here: no test of this file has run on a GPU.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from genlab.data import pinned
from genlab.data.files.workers import make
from genlab.data.on_device import moved
from tests.data.files.test_workers import Numbers, orders


class Cuda:
    """What CUDA is asked for, and what it answers."""

    def __init__(self, refuses: bool = False) -> None:
        self.code = 2 if refuses else 0
        self.registered: dict[int, int] = {}
        self.begun, self.copies, self.arrived = 0, 0, True

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:
        assert flags == 0
        self.begun += 1
        if not self.code:
            self.registered[address] = size
        return self.code

    def cudaHostUnregister(self, address: int) -> None:
        del self.registered[address]

    def holds(self, tensor: Tensor) -> bool:
        at, size = tensor.data_ptr(), tensor.nbytes
        return any(a <= at and at + size <= a + n for a, n in self.registered.items())

    def query(self) -> bool:  # of an event
        return self.arrived

    def record(self, stream: Any) -> None: ...

    def take(self, monkeypatch: pytest.MonkeyPatch) -> Cuda:
        """Stand in for torch.cuda."""

        def copied(tensor: Tensor) -> Tensor:
            self.copies += 1
            return tensor.clone()

        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.cuda, "cudart", lambda: self)
        monkeypatch.setattr(torch.cuda, "Event", lambda: self)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
        monkeypatch.setattr(torch.Tensor, "is_pinned", lambda tensor: self.holds(tensor))
        monkeypatch.setattr(torch.Tensor, "pin_memory", copied)
        return self


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cuda]:
    stand_in = Cuda().take(monkeypatch)
    yield stand_in
    stand_in.arrived = True
    pinned.sent(torch.zeros(1), torch.device("cpu"))


def test_batches_of_workers_are_pinned_where_they_are(cuda: Cuda) -> None:
    for batch, filled in make(Numbers(), orders(12), 1):
        there = [pinned.sent(part, torch.device("cpu")) for part in batch]
        assert all((part[1] == filled.rows[1]).all() for part in there)
        assert all(cuda.holds(part) for part in batch)
        del batch, there
    assert (cuda.begun, cuda.copies) == (1, 0)
    pinned.sent(torch.zeros(1), torch.device("cpu"))
    gc.collect()
    assert not cuda.registered  # given back with the last batch


def test_memory_is_not_used_again_before_it_is_copied(cuda: Cuda) -> None:
    cuda.arrived, held, places = False, [], set()
    for batch, filled in make(Numbers(), orders(12), 1):
        there = [pinned.sent(part, torch.device("cpu")) for part in batch]
        places |= {part.data_ptr() for part in there}
        held += [(part, filled.rows[0]) for part in there]
        del batch, there
    assert all((part[0] == row).all() for part, row in held)
    assert len(places) == 24
    assert len(pinned._under_way) > 0
    cuda.arrived = True
    pinned.sent(torch.zeros(1), torch.device("cpu"))
    assert not pinned._under_way


def test_memory_that_the_system_does_not_pin_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda(refuses=True).take(monkeypatch)
    for batch, filled in make(Numbers(), orders(3), 1):
        there = pinned.sent(batch[0], torch.device("cpu"))
        assert (there[1] == filled.rows[1]).all()
    assert (cuda.begun, cuda.copies) == (1, 3)
    assert not pinned._under_way


def test_nothing_is_pinned_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = Cuda().take(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    for batch, _ in make(Numbers(), orders(3), 1):
        moved({"crops": batch}, torch.device("cpu"))
    assert (cuda.begun, cuda.copies) == (0, 0)
    assert not torch.cuda.is_initialized()


def test_tensors_of_a_batch_are_sent_to_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Tensor] = []

    def record(value: Tensor, device: torch.device) -> Tensor:
        sent.append(value)
        return value

    monkeypatch.setattr(pinned, "sent", record)
    batch = {"crops": [torch.zeros(2), torch.ones(2)], "label": torch.arange(2), "seed": 3}
    assert moved({"labeled": batch}, torch.device("cuda"))["labeled"]["seed"] == 3
    assert len(sent) == 3
