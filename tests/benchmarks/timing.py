"""Ratios of process CPU time on one thread, the two sides alternating; robust to busy machines."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch

from genlab.training.engine.memory import keep_freed_memory


def seconds(work: Callable[[], object]) -> float:
    """Process CPU time of ``work``."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(
    name: str,
    slow: Callable[[], object],
    fast: Callable[[], object],
    rounds: int = 7,
    many: int = 1,
) -> float:
    """Run both in turns, print how many times as long ``slow`` takes, and return the median.

    Args:
        name: what is compared, for the line that is printed.
        slow: one side.
        fast: the other.
        rounds: of one measurement of each; one more goes before.
        many: runs of ``fast`` in one measurement, of which the mean counts.
    """
    torch.set_num_threads(1)
    keep_freed_memory()  # as every command does
    times = []
    for _ in range(rounds + 1):
        first = seconds(slow)
        times.append((first, seconds(lambda: [fast() for _ in range(many)]) / many))
    slows, fasts = zip(*times[1:], strict=True)
    ratios = [a / b for a, b in times[1:]]
    middle, least = statistics.median(ratios), min(ratios)
    print(
        f"\n{name}: {1000 * statistics.median(slows):.1f} ms against "
        f"{1000 * statistics.median(fasts):.1f} ms of CPU time; "
        f"{middle:.2f}x (median of {rounds}; {least:.2f} ... {max(ratios):.2f})"
    )
    return middle
