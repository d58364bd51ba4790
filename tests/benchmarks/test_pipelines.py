"""SimCLR's step fed by genlab against the same step fed by PIL transforms in a DataLoader.

Wall time on two threads, because worker processes count; on an otherwise idle machine.
"""

from __future__ import annotations

import importlib
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torchvision.transforms as stock
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from genlab.augment import views_from
from genlab.data.in_memory import Pictures
from genlab.data.loader import TrainLoader
from genlab.data.on_device import Finish
from genlab.training.engine.memory import keep_freed_memory
from tests.augment.test_view import pictures
from tests.benchmarks.test_views import four_convolutions

pytestmark = [pytest.mark.benchmarks, pytest.mark.filterwarnings("default")]
BATCH, STEPS, LEAD, ROUNDS = 256, 8, 4, 3  # LEAD: steps that use up what workers had ready


def images() -> Tensor:
    """4096 natural-looking images, (N, 3, 32, 32) uint8."""
    return pictures(4096, size=32).mul(255).byte()


def two_views() -> Callable[[Image.Image], list[Tensor]]:
    """SimCLR's for CIFAR-10 in torchvision's transforms: colour strength 0.5, no blur."""
    view = stock.Compose(
        [
            stock.RandomResizedCrop(32, (0.08, 1.0)),
            stock.RandomHorizontalFlip(),
            stock.RandomApply([stock.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            stock.RandomGrayscale(0.2),
            stock.ToTensor(),
        ]
    )
    return lambda image: [view(image), view(image)]


class Opened(Dataset[Any]):
    """CIFAR-10 as torchvision reads it: an array, made a PIL image each time."""

    def __init__(self, array: Tensor, transform: Callable[[Image.Image], Any]) -> None:
        self.array, self.transform = array.permute(0, 2, 3, 1).numpy(), transform

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, at: int) -> Any:
        return self.transform(Image.fromarray(self.array[at])), at


def by_pil(transform: Callable[[Image.Image], Any], workers: int) -> Iterator[list[Tensor]]:
    """Batches of two views from a DataLoader, without end."""
    loader = DataLoader(
        Opened(images(), transform), BATCH, shuffle=True, drop_last=True, num_workers=workers,
        persistent_workers=workers > 0,
    )  # fmt: skip
    for _ in itertools.count():
        for views, _ in loader:
            yield views


def by_genlab() -> Iterator[list[Tensor]]:
    """The same from memory, views drawn for the whole batch."""
    source, views = Pictures(images()), views_from("simclr_cifar")
    finish = Finish(resize=None, options=None, binarize="none")
    assert views is not None
    loader = TrainLoader(source, torch.arange(len(source)), BATCH, seed=0)
    for epoch in itertools.count():
        loader.set_epoch(epoch)
        for batch in loader:
            yield views(finish(batch["image"]), batch["seed"])


def seconds_a_step(batches: Iterator[list[Tensor]], width: int) -> float:
    """Wall time of a training step, the batch included."""
    torch.manual_seed(0)
    model = four_convolutions(width)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    start = 0.0
    for step in range(LEAD + STEPS):
        if step == LEAD:
            start = time.perf_counter()
        optimizer.zero_grad()
        model.training_step({"views": next(batches)}, step)["loss"].backward()
        optimizer.step()
    return (time.perf_counter() - start) / STEPS


@pytest.mark.parametrize(("width", "goal"), [(8, 4.0), (16, 3.0)])
def test_a_simclr_step_against_one_fed_by_pil(width: int, goal: float) -> None:
    """Four convolutions, 256 images of 32 px, against the better of the DataLoaders.

    The wider the network, the less its images matter.
    """
    keep_freed_memory()
    torch.set_num_threads(2)
    feeds: dict[str, Callable[[], Iterator[list[Tensor]]]] = {
        "genlab": by_genlab,
        "torchvision, PIL, no workers": lambda: by_pil(two_views(), 0),
        "torchvision, PIL, 2 workers": lambda: by_pil(two_views(), 2),
    }
    try:
        lightly = importlib.import_module("lightly.transforms")
    except ImportError:
        print("\nlightly is not installed: not compared")
    else:
        settings = {"input_size": 32, "cj_strength": 0.5, "gaussian_blur": 0.0, "normalize": None}
        feeds["lightly, 2 workers"] = lambda: by_pil(lightly.SimCLRTransform(**settings), 2)
    times: dict[str, list[float]] = {name: [] for name in feeds}
    for _ in range(ROUNDS):
        for name, feed in feeds.items():
            times[name].append(seconds_a_step(feed(), width))
    middle = {name: statistics.median(found) for name, found in times.items()}
    print(
        f"\nSimCLR step, convolutions of {width} ... {8 * width}, {BATCH} images, 2 threads, wall:"
    )
    for name, value in middle.items():
        print(f"  {name}: {1000 * value:.0f} ms, {value / middle['genlab']:.2f}x")
    pil = min(value for name, value in middle.items() if name.startswith("torchvision"))
    assert pil / middle["genlab"] >= goal
