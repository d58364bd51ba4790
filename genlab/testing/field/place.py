"""The device of a field report, and how work is put there and watched."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch

from genlab.internals import torch_parts
from genlab.testing import host_reads
from genlab.testing.field import products
from genlab.testing.ranks import Ranks

WAITS = "synchronizing CUDA operation"  # words of torch's sync debug mode
MOST_GPUS = 8


class Place:
    """A GPU and its neighbours, or the CPU in their stead.

    On a CPU everything that has two ways takes a GPU's, and sizes are small.

    Args:
        device: ``cuda`` or ``cpu``.
    """

    def __init__(self, device: str = "cuda") -> None:
        self.small = device == "cpu"
        self.device = torch.device("cpu") if self.small else torch.device("cuda", 0)
        self.gpus = 0 if self.small else min(MOST_GPUS, torch.cuda.device_count())
        if not self.small:  # of cuBLAS, read when it starts
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        self._ranks: Ranks | None = None

    @property
    def world(self) -> int:
        """Number of processes of the comparison with one; 1 if there is one GPU only."""
        return 2 if self.small else min(2, self.gpus)

    def ranks(self) -> Ranks:
        """Processes of a GPU each, over NCCL; on a CPU over gloo."""
        if self._ranks is None:
            self._ranks = Ranks("gloo" if self.small else "nccl")
        return self._ranks

    def close(self) -> None:
        """End the processes."""
        if self._ranks is not None:
            self._ranks.close()

    def trainer(self) -> dict[str, Any]:
        """Arguments of a Trainer that trains here."""
        return {} if self.small else {"accelerator": "gpu", "devices": [self.device.index]}

    def wait(self) -> None:
        """Until the device has done all its work."""
        if not self.small:
            torch.cuda.synchronize(self.device)

    def release(self) -> None:
        """Give unused memory of the device back, for other processes."""
        gc.collect()
        if not self.small:
            torch.cuda.empty_cache()

    @contextmanager
    def side(self) -> Iterator[None]:
        """While it lasts, work is the device's; the reference is computed outside."""
        with ExitStack() as stack:
            if self.small:
                far = mock.patch.object(torch_parts, "on_host", host_reads.elsewhere)
                stack.enter_context(far)
            yield

    @contextmanager
    def tf32(self, on: bool) -> Iterator[None]:
        """Products of float32 with operands of 10 bits, or in full; on a CPU they are rounded."""
        with products.rounded() if self.small and on else products.tf32(on):
            yield

    @contextmanager
    def watch(self, seen: list[str]) -> Iterator[None]:
        """While it lasts, what makes Python wait for the device is added to ``seen``."""
        if self.small:
            with host_reads.noted(seen, constants=True):
                yield
            return
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                yield
            finally:
                torch.cuda.set_sync_debug_mode(before)
        seen += [f"{w.filename}:{w.lineno}" for w in caught if WAITS in str(w.message)]


def found() -> bool:
    """True if there is a GPU."""
    return torch.cuda.is_available() and torch.cuda.device_count() > 0
