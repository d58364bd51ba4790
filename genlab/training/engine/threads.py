"""Wait of OpenMP's threads for work: a short spin, then sleep."""

from __future__ import annotations

import os
import sys

GIVEN = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
SPINS = 10_000  # some tens of microseconds


def spin_briefly() -> bool:
    """Let idle OpenMP threads sleep soon; returns True if it does. Works before torch is imported.

    By default they spin for long. That is quick on an idle machine and slow on a shared one: the
    thread that a step waits for gets no core, because another one burns it with waiting. Ten
    epochs of vae/digits on two busy cores took 53 s by default (load 8) and 6 s (load 6)
    so; on an idle machine both give 33,000 images a second, and sleep without a spin 20,000.
    Results are the same. The environment of a user has the last word.
    """
    if "torch" in sys.modules or any(name in os.environ for name in GIVEN):
        return False
    os.environ["GOMP_SPINCOUNT"] = str(SPINS)
    return True
