"""Data sets made on the spot for the tests of sources, and what every source must do."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from genlab import checkpoints
from genlab.data.encoded_images import EncodedImages
from genlab.data.loader import Batch
from tests.conftest import Here
from tests.data.files.test_encoded import photograph

TINY = ("trainer.max_epochs=-1", "track.wandb=off", "track.test_after_fit=false",
        "seed_everything=1", "data.batch_size=4", "data.augment={crop: [0.2, 1.0], flip: true}",
        "model.optimizer.schedule=constant", "data.val_size=3")  # fmt: skip
NAMES = ("ant", "bee", "cow")
Example = tuple[bytes, int]


def examples(count: int, first: int = 0) -> list[Example]:
    """JPEG pictures of several sizes with classes 0, 1, 2 in turn."""
    found = []
    for k in range(first, first + count):
        buffer = BytesIO()
        photograph(24 + k % 7, 40 - k % 5, seed=k).save(buffer, "JPEG", quality=90)
        found.append((buffer.getvalue(), k % 3))
    return found


def as_folder(root: Path, pictures: Sequence[Example]) -> Path:
    """The same pictures as a folder of images in the same order within a class."""
    for k, (data, label) in enumerate(pictures):
        place = root / NAMES[label]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{k:03}.jpg").write_bytes(data)
    return root


def batches(data: EncodedImages, epoch: int = 1) -> list[Batch]:
    """All batches of training in an epoch, of validation and of the test."""
    loader = data.train_dataloader()
    loader.set_epoch(epoch)
    return list(chain(loader, data.bank_dataloader("val"), data.test_dataloader()))


def assert_equal(ours: Sequence[Batch], theirs: Sequence[Batch]) -> None:
    """The same batches, tensor by tensor; each may be a list of crops."""
    assert len(ours) == len(theirs) > 0
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for key in mine:
            pairs = zip(_tensors(mine[key]), _tensors(other[key]), strict=True)
            assert all(torch.equal(a, b) for a, b in pairs), key


def _tensors(value: Any) -> list[torch.Tensor]:
    return [torch.as_tensor(one) for one in (value if isinstance(value, list) else [value])]


def assert_trains_evaluates_and_resumes(here: Here, *words: str) -> None:
    """Four steps give the weights of two and, resumed within an epoch, two more; it is tested."""
    runs: list[Path] = []
    for steps in (4, 2):
        here("fit", "classifier/digits", *words, *TINY, f"trainer.max_steps={steps}")
        runs += [run for run in here.runs() if run not in runs]
    straight, resumed = runs
    here("fit", "--resume", str(resumed), "trainer.max_steps=4")
    one, other = (_weights(run) for run in (straight, resumed))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    out, _ = here("test", str(resumed))
    assert "accuracy" in out


def _weights(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = checkpoints.read(run / "checkpoints" / "last.ckpt")["state_dict"]
    return found
