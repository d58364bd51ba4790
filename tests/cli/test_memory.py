"""Freed memory stays: a step's activations are not mapped anew."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import os, resource
from genlab.cli.memory import keep_freed_memory
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
