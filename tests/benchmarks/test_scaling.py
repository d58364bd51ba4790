"""What grows with a setting grows in proportion to it: MoCo's queue, the number of views."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from genlab import losses
from genlab.augment.view import View
from genlab.augment.views import Views
from genlab.networks.queue import Queue
from genlab.training.engine.memory import keep_freed_memory
from tests.augment.test_view import pictures
from tests.benchmarks.timing import seconds

pytestmark = pytest.mark.benchmarks


def growth(name: str, works: Mapping[int, Callable[[], object]], rounds: int = 9) -> float:
    """Cost of the last doubling over twice that of the one before; 1 where cost is a line."""
    torch.set_num_threads(1)
    keep_freed_memory()
    times: dict[int, list[float]] = {size: [] for size in works}
    for _ in range(rounds + 1):
        for size, work in works.items():
            times[size].append(seconds(work))
    middle = {size: statistics.median(found[1:]) for size, found in times.items()}
    low, mid, high = middle.values()
    bend = (high - mid) / (2 * (mid - low))
    figures = ", ".join(f"{size:,}: {1000 * value:.1f} ms" for size, value in middle.items())
    print(f"\n{name}: {figures}; last doubling / twice the one before: {bend:.2f}")
    return bend


def test_moco_costs_in_proportion_to_its_queue() -> None:
    """Loss with gradient, then the new keys: 256 images against 16,384 ... 65,536 keys."""
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(256, 128, generator=generator) for _ in range(2))

    def work(size: int) -> Callable[[], None]:
        queue = Queue(size, 128)

        def step() -> None:
            q = query.clone().requires_grad_()
            losses.info_nce(q, key, queue.keys, 0.2).backward()
            queue.enqueue(torch.nn.functional.normalize(key))

        return step

    bend = growth("MoCo by keys", {size: work(size) for size in (16_384, 32_768, 65_536)})
    assert bend == pytest.approx(1, abs=0.15)


def test_views_cost_in_proportion_to_their_number() -> None:
    image = pictures(256)

    def work(number: int) -> Callable[[], list[Tensor]]:
        views = Views([View(blur=0.5) for _ in range(number)])
        return lambda: views(image, 0)

    bend = growth("views of 256 images", {number: work(number) for number in (2, 4, 8)})
    assert bend == pytest.approx(1, abs=0.15)
