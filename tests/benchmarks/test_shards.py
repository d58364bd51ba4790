"""Pictures streamed from shards: cost a picture and memory, from 1,000 to 100,000 of them."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from genlab.data import ImageFolder
from genlab.data.loader import Batch
from genlab.data.shards.packing import Packing, pack
from tests.benchmarks.timing import compare, seconds

pytestmark = pytest.mark.benchmarks
SIZES = (1_000, 10_000, 100_000)
LARGEST = int(os.environ.get("GENLAB_BENCH_PICTURES", SIZES[-1]))


def jpegs(root: Path, number: int) -> Path:
    """Files of 16 px in ten classes: a hundred different ones, again and again."""
    rng = np.random.default_rng(0)
    stock = []
    for _ in range(100):
        buffer = BytesIO()
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(buffer, "JPEG")
        stock.append(buffer.getvalue())
    for label in range(10):
        (root / f"{label}").mkdir(parents=True)
    for k in range(number):
        (root / f"{k % 10}" / f"{k // 10:06d}.jpg").write_bytes(stock[k % 100])
    return root


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    found = {}
    for number in dict.fromkeys((*SIZES[:-1], LARGEST)):
        place = tmp_path_factory.mktemp("pictures")
        jpegs(place / "pictures", number)
        pack(place / "pictures", place / "shards", Packing(megabytes=16))
        found[number] = place
    return found


def data_of(root: Path, order: str) -> ImageFolder:
    return ImageFolder(
        str(root), 16, in_memory=False, workers=0, batch_size=100, val_size=0, test_size=0,
        order=order, seed=0,  # type: ignore[arg-type]
    )  # fmt: skip


def batches(loader: Any) -> Iterator[Batch]:
    """Of one epoch after another."""
    for epoch in count():
        loader.set_epoch(epoch)
        yield from loader


def reader(root: Path, order: str) -> Callable[[], None]:
    """Reads the next thousand pictures."""
    endless = batches(data_of(root, order).train_dataloader())

    def read() -> None:
        for _ in range(10):
            next(endless)

    return read


@pytest.mark.parametrize("order", ["global", "shards"])
def test_cost_a_picture_is_flat(packed: dict[int, Path], order: str) -> None:
    """A thousand pictures read, and their share in drawing the order of an epoch."""
    read = {number: reader(place / "shards", order) for number, place in packed.items()}
    draw = {
        number: partial(data_of(place / "shards", order).train_dataloader().batches, 0)
        for number, place in packed.items()
    }
    costs: dict[int, list[float]] = {number: [] for number in packed}
    for _ in range(8):
        for number in packed:
            drawing = seconds(draw[number]) if number > 9_000 else 0.0  # else reading includes it
            costs[number].append(1e6 * (seconds(read[number]) / 1000 + drawing / number))
    middle = {number: statistics.median(found[1:]) for number, found in costs.items()}
    print(f"\n{order}: " + ", ".join(f"{n:,}: {cost:.0f} us" for n, cost in middle.items()))
    assert max(middle.values()) <= 1.1 * min(middle.values())


@pytest.mark.parametrize("order", ["global", "shards"])
def test_shards_cost_no_more_than_files(packed: dict[int, Path], order: str) -> None:
    place = packed[10_000]
    files, shards = reader(place / "pictures", "global"), reader(place / "shards", order)
    assert compare(f"1,000 pictures: files against shards, order {order}", files, shards) > 0.8


READING = r"""
import re, sys
from pathlib import Path
from genlab.training.engine.memory import keep_freed_memory
from genlab.data import ImageFolder
keep_freed_memory()
data = ImageFolder(sys.argv[1], 16, in_memory=False, workers=0, batch_size=100, val_size=0,
                   test_size=0, order=sys.argv[2], seed=0)
batches = iter(data.train_dataloader())
for _ in range(10):
    next(batches)
print(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the largest resident size")
@pytest.mark.parametrize("order", ["global", "shards"])
def test_memory_is_so_many_bytes_a_picture(packed: dict[int, Path], order: str) -> None:
    """The largest resident size of a process that sets the data up and reads the first pictures."""

    def largest(place: Path) -> int:
        command = [sys.executable, "-c", READING, str(place / "shards"), order]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return 1024 * int(done.stdout)

    sizes = {n: statistics.median(largest(place) for _ in range(3)) for n, place in packed.items()}
    small, large = min(sizes), max(sizes)
    each = (sizes[large] - sizes[small]) / (large - small)
    print(f"\n{order}: {each:.0f} bytes a picture at most; {sizes[small] / 1e6:.0f} MB without")
    assert each < 250
