"""Batches from memory: against a DataLoader, and by the number of images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import count

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from genlab.data.in_memory import Pictures
from genlab.data.loader import TrainLoader
from genlab.data.on_device import Finish
from tests.benchmarks.timing import compare, seconds

pytestmark = pytest.mark.benchmarks
BATCH, SOME, COPIES = 256, 40, 5


def pictures(n: int, side: int = 28) -> Pictures:
    """Random bytes with labels."""
    generator = torch.Generator().manual_seed(0)
    image = torch.empty((n, 1, side, side), dtype=torch.uint8).random_(generator=generator)
    return Pictures(image, torch.arange(n) % 10)


class Singly(Dataset[tuple[Tensor, int, int]]):
    """One image after the other, as torchvision's data sets give them (without PIL)."""

    def __init__(self, images: Pictures) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, at: int) -> tuple[Tensor, int, int]:
        return self.images.images[at].float().div(255), int(self.images.labels[at]), at


def epoch(loader: TrainLoader) -> Callable[[], int]:
    """Read an epoch as a method sees it: float in [0, 1]."""
    number, finish = iter(range(10**9)), Finish(resize=None, options=None, binarize="none")

    def read() -> int:
        loader.set_epoch(next(number))
        done = 0
        for batch in loader:
            finish(batch["image"], batch["seed"])
            done += 1
        return done

    return read


def test_batches_from_memory_against_a_data_loader() -> None:
    """Images a second of 60,000 of 28 px, ready as float: 30 times as many.

    The median over several copies of the images: it matters where in memory they lie.
    """
    ratios = []
    for _ in range(COPIES):
        source = pictures(60_000)
        ours = TrainLoader(source, torch.arange(len(source)), BATCH, seed=0)
        other = DataLoader(Singly(source), BATCH, shuffle=True, drop_last=True)
        endless = (batch for _ in count() for batch in other)

        def by_item() -> None:
            for _ in range(SOME):
                next(endless)  # noqa: B023

        name = f"{SOME} batches of a DataLoader against an epoch of {len(ours)} from memory"
        ratios.append(compare(name, by_item, epoch(ours), rounds=9) * len(ours) / SOME)
    ratio = statistics.median(ratios)
    print(f"images a second: {ratio:.1f}x a DataLoader's ({min(ratios):.1f} ... {max(ratios):.1f})")
    assert ratio >= 30


def test_the_cost_of_an_image_does_not_depend_on_how_many_there_are() -> None:
    """From 1,000 to 1,000,000 images in memory: loader and a small network's step together.

    The loader alone is said too: rows of a large tensor come from further away.
    """
    torch.set_num_threads(1)
    counts = (1_000, 10_000, 100_000, 1_000_000)
    source, finish = pictures(max(counts)), Finish(resize=None, options=None, binarize="none")
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 256), torch.nn.ReLU(),
                                  torch.nn.Linear(256, 10))  # fmt: skip
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    cost: dict[int, list[float]] = {n: [] for n in counts}
    for number in range(8):
        for n in counts:
            loader = TrainLoader(source, torch.arange(n), 250, seed=0)
            done, start = 0, time.process_time()
            while done < 1_000_000 and (n == max(counts) or done < 200_000):
                loader.set_epoch(number + done)
                for batch in loader:
                    optimizer.zero_grad()
                    out = network(finish(batch["image"], batch["seed"]))
                    torch.nn.functional.cross_entropy(out, batch["label"]).backward()
                    optimizer.step()
                    done += len(out)
            cost[n].append((time.process_time() - start) / done)
    for n in counts:
        loader = TrainLoader(source, torch.arange(n), 250, seed=0)
        read = epoch(loader)
        times = [seconds(read) for _ in range(3 if n > 100_000 else 200)]
        alone = 1e6 * statistics.median(times) / (250 * len(loader))
        print(f"\nloader alone, {n:,} images: {alone:.2f} us an image", end="")
    figures = {n: 1e6 * statistics.median(values) for n, values in cost.items()}
    print("\n" + ", ".join(f"{n:,} images: {v:.2f} us" for n, v in figures.items()) + " an image")
    assert max(figures.values()) <= 1.1 * min(figures.values())
