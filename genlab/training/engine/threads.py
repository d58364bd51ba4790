"""Wait of OpenMP's threads for work: asleep, not spinning."""

from __future__ import annotations

import os
import sys

GIVEN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def wait_asleep() -> bool:
    """Let idle OpenMP threads sleep; returns True if it does. Works before torch is imported.

    By default they spin, which costs nothing on an idle machine and a lot on a shared one: the
    thread that a step waits for gets no core, because another one burns it with waiting. Ten
    epochs of vae/digits on two cores with eight other processes took 53 s and 24 CPU seconds, with
    sleeping threads 3 s and 9. Results are the same. The environment of a user has the last word.
    """
    if "torch" in sys.modules or any(name in os.environ for name in GIVEN):
        return False
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    return True
