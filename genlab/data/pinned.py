"""Copies of batches to a GPU, which takes them out of pinned memory while this process goes on."""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

_under_way: deque[tuple[torch.cuda.Event, Tensor]] = deque()  # oldest first


def sent(value: Tensor, device: torch.device) -> Tensor:
    """The tensor on a GPU, without waiting for the copy.

    Memory that is pinned already, that of worker processes, is read where it is, and is not used
    again before the copy is done; all else is copied to pinned memory first.

    Args:
        value: tensor in memory, or on a GPU.
        device: the GPU.
    """
    while _under_way and _under_way[0][0].query():
        _under_way.popleft()
    if value.device.type != "cpu":
        return value.to(device)
    ready = value.is_pinned()
    there = (value if ready else value.pin_memory()).to(device, non_blocking=True)
    if ready:
        done = torch.cuda.Event()
        done.record(torch.cuda.current_stream(device))
        _under_way.append((done, value))
    return there
