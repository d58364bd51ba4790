"""Freed memory stays: a step's activations are not mapped anew."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from genlab.training.engine import memory


def test_an_older_glibc_that_refuses_the_size_is_asked_for_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Never the one setting without the other: that would pin the threshold at 128 KiB."""
    for name in memory.GIVEN:
        monkeypatch.delenv(name, raising=False)
    for most in (2**30, 2**25, 0):
        given: dict[int, int] = {}

        def mallopt(what: int, value: int, most: int = most, given: Any = given) -> int:
            if what == memory.MMAP_THRESHOLD and value > most:
                return 0
            given[what] = value
            return 1

        libc = SimpleNamespace(mallopt=mallopt)
        monkeypatch.setattr(ctypes, "CDLL", lambda _, libc=libc: libc)
        assert memory.keep_freed_memory() == (most > 0)
        assert given.get(memory.MMAP_THRESHOLD, 0) == most
        assert (memory.TRIM_THRESHOLD in given) == (most > 0)


PROGRAM = """
import os, resource
from genlab.training.engine.memory import keep_freed_memory
kept = keep_freed_memory() if {keep} else None
import numpy as np
np.ones(1 << 22)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(1 << 22)  # 32 MiB
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's setting")
def test_freed_memory_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Page faults of twenty large arrays, one after the other."""
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "LD_PRELOAD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NUMPY_MADVISE_HUGEPAGE", "0")  # such a page is one fault

    def faults(keep: bool) -> tuple[str, int]:
        program = PROGRAM.format(keep=keep)
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        )
        kept, number = done.stdout.split()
        return kept, int(number)

    assert faults(keep=False)[1] > 1000
    kept, number = faults(keep=True)
    assert kept == "True"
    assert number < 200
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    assert faults(keep=True)[0] == "False"  # the user has decided
