"""Shared fixtures: threads, data on disk, and the comparison of one process with two."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with real MNIST, Fashion-MNIST and CIFAR-10 as torchvision lays them out."""
    root = os.environ.get("GENLAB_DATA")
    if not root or not Path(root, "MNIST").is_dir():
        pytest.skip("GENLAB_DATA does not name a folder with MNIST")
    return Path(root)


def _run(rank: int, world: int, program: str, folder: str) -> None:
    torch.set_num_threads(1)
    module, _, name = program.partition(":")
    function: Callable[[int, int], Any] = getattr(importlib.import_module(module), name)
    if world > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=world
        )
    torch.manual_seed(0)
    result = function(rank, world)
    torch.save(result, f"{folder}/{world}_{rank}.pt")
    if world > 1:
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


class TwoRanks:
    """Runs ``module:function(rank, world) -> nested tensors`` on one process and on two gloo ranks."""

    def results(self, program: str) -> tuple[Any, list[Any]]:
        """The one-process result, and those of the two ranks."""
        with tempfile.TemporaryDirectory() as folder:
            for world in (1, 2):
                mp.spawn(_run, args=(world, program, folder), nprocs=world)
            load = lambda name: torch.load(f"{folder}/{name}.pt", weights_only=True)  # noqa: E731
            return load("1_0"), [load("2_0"), load("2_1")]

    def assert_same(self, program: str, atol: float = 1e-6) -> None:
        """Every tensor equal within ``atol`` on one process and on both ranks."""
        one, two = self.results(program)
        for rank, result in enumerate(two):
            torch.testing.assert_close(
                result, one, rtol=0, atol=atol, msg=lambda m, r=rank: f"rank {r}: {m}"
            )


@pytest.fixture
def two_ranks() -> TwoRanks:
    return TwoRanks()
