"""Batches from memory: against a DataLoader, and by the number of images."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from genlab.cli.memory import keep_freed_memory
from genlab.data.loader import TrainLoader
from genlab.data.pictures import Pictures
from tests.benchmarks.timing import compare

pytestmark = pytest.mark.benchmarks
BATCH = 256


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


def epoch(loader: TrainLoader, batches: int) -> Callable[[], int]:
    """Read so many batches as float."""
    number = iter(range(10**9))

    def read() -> int:
        loader.set_epoch(next(number))
        done = 0
        for batch in loader:
            batch["image"].float().div_(255)
            done += 1
            if done == batches:
                break
        return done

    return read


def test_batches_from_memory_against_a_data_loader() -> None:
    """60,000 images of 28 px, ready as float: at least 30 times the images a second."""
    keep_freed_memory()  # as every command does
    source = pictures(60_000)
    ours = TrainLoader(source, torch.arange(len(source)), BATCH, seed=0)
    other = DataLoader(Singly(source), BATCH, shuffle=True, drop_last=True)

    def by_item() -> None:
        for done, _ in enumerate(other, 1):
            if done == 40:
                break

    whole = epoch(ours, len(ours))
    ratio = compare(
        "images of 28 px: 40 batches of a DataLoader against 40 from memory",
        by_item,
        whole,
        rounds=5,
        many=1,
    )
    ratio *= len(ours) / 40
    print(f"images a second: {ratio:.0f}x the DataLoader's (an epoch of {len(ours)} batches here)")
    assert ratio >= 30


def test_the_cost_of_an_image_does_not_depend_on_how_many_there_are() -> None:
    """From 1,000 to 1,000,000 images in memory: loader and a small network's step together."""
    torch.set_num_threads(1)
    counts = (1_000, 10_000, 100_000, 1_000_000)
    source = pictures(max(counts))
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
                    out = network(batch["image"].float().div_(255))
                    torch.nn.functional.cross_entropy(out, batch["label"]).backward()
                    optimizer.step()
                    done += len(out)
            cost[n].append((time.process_time() - start) / done)
    figures = {n: 1e6 * statistics.median(values) for n, values in cost.items()}
    print("\n" + ", ".join(f"{n:,} images: {v:.2f} us" for n, v in figures.items()) + " an image")
    assert max(figures.values()) <= 1.1 * min(figures.values())
