"""Crops of photographs against torchvision's: CPU time of all processes together, one worker each.

500 x 375 JPEGs of quality 90 made of BSDS300's photographs; ours to the same tensors, flipped.
"""

from __future__ import annotations

import os
import resource
import statistics
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms as stock
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder as StockFolder

from genlab.augment.geometry import flip
from genlab.data import ImageFolder
from genlab.data.files.cuts import RandomCrop, cut_out, numbers
from genlab.data.files.encoded import Encoded
from genlab.data.shards.packing import Packing, pack
from genlab.training.engine.memory import keep_freed_memory

pytestmark = [pytest.mark.benchmarks, pytest.mark.filterwarnings("default")]
COUNT, BATCH, SIZE, ROUNDS, AREA = 1024, 64, 224, 5, (0.08, 1.0)
PLAIN = {"preset": "simclr", "jitter": [0, 0, 0, 0], "grey": 0.0, "blur": 0.0}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = Path(os.environ.get("GENLAB_DATA", "nowhere"), "BSDS300", "images")
    files = sorted(source.glob("*/*.jpg"))
    if not files:
        pytest.skip("GENLAB_DATA has no BSDS300")
    root = tmp_path_factory.mktemp("photographs")
    for k in range(COUNT):
        with Image.open(files[k % len(files)]) as picture:
            plain = picture.convert("RGB")
        wide = plain if plain.width > plain.height else plain.transpose(Image.Transpose.ROTATE_90)
        place = root / "train" / f"class{k % 4}"
        place.mkdir(parents=True, exist_ok=True)
        wide.resize((500, 375), Image.Resampling.BICUBIC).save(place / f"{k:05}.jpg", quality=90)
    return root


class Several:
    """Independent draws of one transform."""

    def __init__(self, transform: Callable[[Any], Any], count: int) -> None:
        self.transform, self.count = transform, count

    def __call__(self, picture: Any) -> list[Any]:
        return [self.transform(picture) for _ in range(self.count)]


def theirs(root: Path, views: int, tensor: Any) -> None:
    chain = [stock.RandomResizedCrop(SIZE, AREA), stock.RandomHorizontalFlip(), tensor]
    data = StockFolder(str(root / "train"), Several(stock.Compose(chain), views))
    for _ in DataLoader(data, BATCH, shuffle=True, num_workers=1, drop_last=True):
        pass


def data_of(root: Path, views: int, workers: int) -> ImageFolder:
    how: dict[str, Any] = {"views": PLAIN} if views == 2 else {}
    how |= {} if views == 2 else {"augment": {"flip": True, "crop": list(AREA)}}
    return ImageFolder(
        str(root), SIZE, batch_size=BATCH, val_size=0, test_size=0, workers=workers, **how
    )


def ours(root: Path, views: int, as_bytes: bool) -> None:
    data = data_of(root, views, 1)
    if not as_bytes:
        for _ in data.batches("train"):
            pass
        return
    data.setup()
    loader: Any = data.train_dataloader()
    for batch in loader:
        for crop in batch["crops"]:
            flip(crop, torch.rand(len(crop)) < 0.5)


def decoding(root: Path, views: int) -> None:
    """Decoding and cutting alone, in this process."""
    cuts = [RandomCrop(SIZE, AREA)] * views
    drawn = np.stack([numbers(0, np.arange(COUNT), k) for k in range(views)], 1)
    for file, row in zip(sorted((root / "train").rglob("*.jpg")), drawn, strict=True):
        list(cut_out(Encoded(file, 3), cuts, row))


def cpu() -> float:
    """CPU time in seconds of this process and of its children that have ended."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, who))


def ratio(name: str, slow: Callable[[], None], fast: Callable[[], None]) -> float:
    """Median over `ROUNDS` turns of how many times as long ``slow`` takes."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as fit does, for both
    pairs = []
    for _ in range(ROUNDS + 1):
        times = []
        for work in (slow, fast):
            start = cpu()
            work()
            times.append(cpu() - start)
        pairs.append(times)
    found = [a / b for a, b in pairs[1:]]
    rates = [COUNT / statistics.median(side) for side in zip(*pairs[1:], strict=True)]
    middle = statistics.median(found)
    print(
        f"\n{name}: {rates[1]:.0f} against {rates[0]:.0f} images a CPU second; {middle:.2f}x "
        f"(median of {ROUNDS}; {min(found):.2f} ... {max(found):.2f})"
    )
    return middle


@pytest.mark.parametrize(
    ("views", "as_bytes", "bound"),
    [(2, True, 1.4), (2, False, 1.6), (1, True, 1.3), (1, False, 1.5)],
)
def test_crops_against_torchvision(
    photographs: Path, views: int, as_bytes: bool, bound: float
) -> None:
    tensor = stock.PILToTensor() if as_bytes else stock.ToTensor()
    name = f"{views} views of 224 px, {'bytes' if as_bytes else 'floats'}"
    slow, fast = (
        (lambda: theirs(photographs, views, tensor)),
        (lambda: ours(photographs, views, as_bytes)),
    )
    assert ratio(name, slow, fast) >= bound


def test_shards_of_256_pixels_against_torchvision(photographs: Path, tmp_path: Path) -> None:
    pack(photographs, tmp_path / "shards", Packing(resize=256))
    slow = partial(theirs, photographs, 2, stock.PILToTensor())
    fast = partial(ours, tmp_path / "shards", 2, as_bytes=True)
    assert ratio("2 views, shards of 256 px against files", slow, fast) >= 2.0


@pytest.mark.parametrize("views", [1, 2])
def test_the_loader_costs_a_tenth_of_decoding(photographs: Path, views: int) -> None:
    """A whole pass less half a pass: what a worker's start costs is not an image's."""
    half = COUNT // 2

    def loading(count: int) -> None:
        data = data_of(photographs, views, 1)
        data.division = type(data.division)(0, 0, count, None, 0)
        data.setup()
        for _ in data.train_dataloader():
            pass

    rounds = []
    for _ in range(ROUNDS + 1):
        times = []
        for work in (
            lambda: loading(COUNT),
            lambda: loading(half),
            lambda: decoding(photographs, views),
        ):
            start = cpu()
            work()
            times.append(cpu() - start)
        rounds.append(2 * (times[0] - times[1]) / times[2])
    over = statistics.median(rounds[1:])
    print(f"\nloader over decoding and cutting alone, {views} views: {over:.3f}")
    assert over < 1.10
